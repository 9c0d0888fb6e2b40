"""One unit of work of the tool service."""

from functools import cached_property

from chassis.data.unit_of_work import UnitOfWork
from tool.repositories import ExecutionRepository, ToolRepository, ToolVersionRepository


class ToolUnitOfWork(UnitOfWork):
    """The session, outbox and jobs of every service, and the repositories of this one."""

    @cached_property
    def tools(self) -> ToolRepository:
        return ToolRepository(self.session, self.organization_id)

    @cached_property
    def versions(self) -> ToolVersionRepository:
        return ToolVersionRepository(self.session, self.organization_id)

    @cached_property
    def executions(self) -> ExecutionRepository:
        return ExecutionRepository(self.session, self.organization_id)
