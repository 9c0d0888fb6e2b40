"""What org needs from its peers, in its own words."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True)
class Profile:
    """How a user is shown to fellow members."""

    user_id: UUID
    display_name: str
    email: str


class UserDirectory(Protocol):
    """Who the people behind user ids are. Both calls go over the network."""

    async def ensure_user(self, *, organization_id: UUID, email: str, display_name: str) -> Profile:
        """Find the user with an address, or create one without a password.

        Raises DependencyUnavailable when the directory is away.
        """
        ...

    async def profiles(self, *, organization_id: UUID, user_ids: Sequence[UUID]) -> Mapping[UUID, Profile]:
        """Name users; those who are unknown, or all when the directory is away, are missing from the answer."""
        ...


class Bell(Protocol):
    """Rings when an organization's feed has something new. It may ring for nothing, and may fail to ring."""

    def listening(self, organization_id: UUID) -> AbstractAsyncContextManager["Ring"]:
        """Listen for one organization."""
        ...


class Ring(Protocol):
    """One listener's end of the bell."""

    async def wait(self, *, timeout: float) -> bool:
        """Return when the bell rang since the last call, or after `timeout` seconds; answer whether it rang."""
        ...
