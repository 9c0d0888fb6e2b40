"""Organizations, and which of them a user belongs to."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.data.repository import Repository
from org import models
from org.domain.errors import OrganizationSlugTaken


class OrganizationRepository(Repository[models.Organization]):
    """The organization itself: one row."""

    model = models.Organization

    async def current(self) -> models.Organization | None:
        """Read the organization."""
        return await self.first(self.query())

    async def lock(self) -> models.Organization | None:
        """Read the organization and hold it: members change one at a time."""
        return await self.first(self.query().with_for_update())

    async def insert(self, organization: models.Organization) -> None:
        """Insert the organization at once. Raises OrganizationSlugTaken and leaves the transaction usable."""
        try:
            async with self.session.begin_nested():
                self.session.add(organization)
        except IntegrityError as error:
            raise OrganizationSlugTaken(slug=organization.slug) from error


@dataclass(frozen=True)
class MembershipRow:
    """One organization as one of its members sees it."""

    id: UUID
    display_name: str
    slug: str
    create_time: datetime
    update_time: datetime
    revision: int
    role: str
    rank: int
    member_since: datetime


class MembershipRepository:
    """The organizations of the user the transaction speaks for, across tenants.

    Reads through a function of the database that takes no argument: it shows what the transaction's user belongs to.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get_across_organizations(
        self, *, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> list[MembershipRow]:
        """List memberships, oldest first, those after a (member_since, id)."""
        rows = await self._session.execute(
            text(
                "SELECT * FROM org.memberships_of_current_user() AS m"
                " WHERE CAST(:since AS timestamptz) IS NULL OR (m.member_since, m.id) > (:since, :id)"
                " ORDER BY m.member_since, m.id LIMIT :limit"
            ),
            {"since": after and after[0], "id": after and after[1], "limit": limit},
        )
        return [MembershipRow(**row) for row in rows.mappings()]
