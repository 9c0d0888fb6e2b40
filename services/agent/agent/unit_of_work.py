"""One unit of work of the agent service."""

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

from agent.domain.errors import AgentNameTaken, RunIdTaken
from agent.repositories import (
    AgentRepository,
    AgentVersionRepository,
    JournalTable,
    LeaseBoard,
    RunEventRepository,
    RunLeaseRepository,
    RunRepository,
    RunStepRepository,
)
from chassis.data.unit_of_work import UnitOfWork
from chassis.errors import FleetError


class AgentUnitOfWork(UnitOfWork):
    """The session, outbox and jobs of every service, and the repositories of this one."""

    constraint_errors: ClassVar[Mapping[str, type[FleetError]]] = {
        "uq_agents_display_name": AgentNameTaken,
        "pk_runs": RunIdTaken,
    }

    @cached_property
    def agents(self) -> AgentRepository:
        return AgentRepository(self.session, self.organization_id)

    @cached_property
    def agent_versions(self) -> AgentVersionRepository:
        return AgentVersionRepository(self.session, self.organization_id)

    @cached_property
    def runs(self) -> RunRepository:
        return RunRepository(self.session, self.organization_id)

    @cached_property
    def run_steps(self) -> RunStepRepository:
        return RunStepRepository(self.session, self.organization_id)

    @cached_property
    def run_events(self) -> RunEventRepository:
        return RunEventRepository(self.session, self.organization_id)

    @cached_property
    def run_leases(self) -> RunLeaseRepository:
        return RunLeaseRepository(self.session, self.organization_id)

    @cached_property
    def lease_board(self) -> LeaseBoard:
        """For units of the machinery role."""
        return LeaseBoard(self.session)

    @cached_property
    def journal_table(self) -> JournalTable:
        """For units of the machinery role."""
        return JournalTable(self.session)
