"""The unit of work of auth: its repositories over one transaction."""

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar
from uuid import UUID

from auth import repositories as rows
from auth.domain.errors import EmailTaken
from chassis.data.unit_of_work import UnitOfWork
from chassis.errors import FleetError


class AuthUnitOfWork(UnitOfWork):
    """Rows of one user, one organization, or the installation, as the unit was opened."""

    constraint_errors: ClassVar[Mapping[str, type[FleetError]]] = {"uq_users_email_key": EmailTaken}

    @cached_property
    def users(self) -> rows.UserRows:
        """The user the unit is bound to."""
        return rows.UserRows(self.session, self._bound_user_id)

    @cached_property
    def sessions(self) -> rows.SessionRows:
        """Sessions of that user."""
        return rows.SessionRows(self.session, self._bound_user_id)

    @cached_property
    def refresh_tokens(self) -> rows.RefreshTokenRows:
        """Refresh tokens of that user."""
        return rows.RefreshTokenRows(self.session, self._bound_user_id)

    @cached_property
    def api_keys(self) -> rows.ApiKeyRows:
        """Keys of the organization the unit is bound to."""
        return rows.ApiKeyRows(self.session, self.organization_id)

    @cached_property
    def membership_answers(self) -> rows.MembershipAnswerRows:
        """Stored answers about members of that organization."""
        return rows.MembershipAnswerRows(self.session, self.organization_id)

    @cached_property
    def lookups(self) -> rows.Lookups:
        """Reads by secret, across users and organizations."""
        return rows.Lookups(self.session)

    @cached_property
    def issuer_keys(self) -> rows.IssuerKeyRows:
        """Keys of the issuer."""
        return rows.IssuerKeyRows(self.session)

    @cached_property
    def revocations(self) -> rows.RevocationRows:
        """Revocations of the installation."""
        return rows.RevocationRows(self.session)

    @cached_property
    def throttles(self) -> rows.ThrottleRows:
        """Counters of attempts."""
        return rows.ThrottleRows(self.session)

    @cached_property
    def used_assertions(self) -> rows.UsedAssertionRows:
        """Assertions of processes."""
        return rows.UsedAssertionRows(self.session)

    @property
    def _bound_user_id(self) -> UUID:
        if self.user_id is None:
            raise LookupError("this unit of work is bound to no user")
        return self.user_id
