"""One transaction of org with everything a use case works on."""

from functools import cached_property

from chassis.data.unit_of_work import UnitOfWork
from org.repositories import (
    AuditRepository,
    BudgetRepository,
    FeedRepository,
    JobViewRepository,
    MemberRepository,
    MembershipRepository,
    OrganizationRepository,
    UpkeepRepository,
    UsageRepository,
)


class OrgUnitOfWork(UnitOfWork):
    """Repositories of one organization, bound to one session."""

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
