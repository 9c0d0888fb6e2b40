"""What auth knows of organizations: only what org answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from auth.domain.scopes import Rights


@dataclass(frozen=True)
class MembershipAnswer:
    """What org says about a user in an organization. Later answers have higher revisions."""

    rights: Rights
    revision: int


@dataclass(frozen=True)
class OwnMembership:
    """One of a user's organizations."""

    organization_id: UUID
    display_name: str
    role: str
    rank: int


class Memberships(Protocol):
    """The directory of memberships, kept by org. Every method raises DependencyUnavailable while org is down."""

    async def provision_organization(self, *, organization_id: UUID, owner_id: UUID, display_name: str) -> None:
        """Create the organization with its owner. Safe to repeat."""

    async def resolve(self, *, organization_id: UUID, user_id: UUID) -> MembershipAnswer | None:
        """Look up a user's rights; None when the user is no member."""

    async def list_of_user(self, user_id: UUID) -> Sequence[OwnMembership]:
        """List the organizations that the user belongs to."""
