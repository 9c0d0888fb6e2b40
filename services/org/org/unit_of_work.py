"""One transaction of org with everything a use case works on."""

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar
from uuid import UUID

from chassis.data.pagination import binding
from chassis.data.repository import PAGE_SECRET
from chassis.data.unit_of_work import UnitOfWork
from chassis.errors import FleetError
from org.domain.errors import OrganizationSlugTaken
from org.repositories.audit import AuditRepository
from org.repositories.budgets import BudgetRepository
from org.repositories.feed import FeedRepository
from org.repositories.job_views import JobViewRepository
from org.repositories.members import MemberRepository
from org.repositories.organizations import MembershipRepository, OrganizationRepository
from org.repositories.upkeep import UpkeepRepository
from org.repositories.usage import UsageRepository


class OrgUnitOfWork(UnitOfWork):
    """Repositories of one organization, bound to one session."""

    constraint_errors: ClassVar[Mapping[str, type[FleetError]]] = {"uq_organizations_slug": OrganizationSlugTaken}

    def page_binding(self, filter_key: str, *, scope: UUID) -> bytes:
        """Return what signs the page tokens of a list that no repository pages."""
        return binding(self.session.info[PAGE_SECRET], scope=scope.hex, filter_key=filter_key, order=())

    @cached_property
    def organizations(self) -> OrganizationRepository:
        """The organization itself."""
        return OrganizationRepository(self.session, self.organization_id)

    @cached_property
    def members(self) -> MemberRepository:
        """Its members."""
        return MemberRepository(self.session, self.organization_id)

    @cached_property
    def feed(self) -> FeedRepository:
        """Its events in order."""
        return FeedRepository(self.session, self.organization_id)

    @cached_property
    def audit(self) -> AuditRepository:
        """Its audit log."""
        return AuditRepository(self.session, self.organization_id)

    @cached_property
    def job_views(self) -> JobViewRepository:
        """Its jobs in all services."""
        return JobViewRepository(self.session, self.organization_id)

    @cached_property
    def budgets(self) -> BudgetRepository:
        """Its reservations."""
        return BudgetRepository(self.session, self.organization_id)

    @cached_property
    def usage(self) -> UsageRepository:
        """Its usage."""
        return UsageRepository(self.session, self.organization_id)

    @cached_property
    def memberships(self) -> MembershipRepository:
        """The organizations of the transaction's user."""
        return MembershipRepository(self.session)

    @cached_property
    def upkeep(self) -> UpkeepRepository:
        """What time does to rows; machinery only."""
        return UpkeepRepository(self.session)
