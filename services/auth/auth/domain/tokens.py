"""Tokens that auth issues, and what it says in them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from auth.domain.scopes import Rights

CONTEXT_TOKEN_LIFE = timedelta(seconds=60)


@dataclass(frozen=True)
class AccessClaims:
    """Whose session an access token belongs to, and where it acts."""

    user_id: UUID
    session_id: UUID
    organization_id: UUID
    expire_time: datetime | None = None  # of a token that was read


@dataclass(frozen=True)
class ContextClaims:
    """Who a caller is inside the fleet."""

    subject: str  # typed id, or "service:kb"
    kind: str  # user | api_key | service
    organization_id: UUID | None
    user_id: UUID | None  # the principal: the user, or the creator of the key
    rights: Rights
    credential_id: str = ""  # typed id of the session or key
    end_user: str = ""
    service: str = ""  # the process that the token was minted for
    requests_per_minute: int = 0
    allowed_addresses: tuple[str, ...] = ()
    expire_time: datetime | None = None  # of the credential, which no context token outlives


@dataclass(frozen=True)
class ContextToken:
    """A signed context token."""

    text: str
    expire_time: datetime


class AccessTokens(Protocol):
    """Signs and reads access tokens."""

    life: timedelta

    def mint(self, claims: AccessClaims, *, now: datetime) -> str:
        """Sign a token that lives from `now` on."""

    def read(self, text: str, *, now: datetime) -> AccessClaims:
        """Verify a token. Raises CredentialInvalid or TokenExpired."""


class ContextTokens(Protocol):
    """Signs context tokens."""

    def mint(self, claims: ContextClaims, *, now: datetime) -> ContextToken:
        """Sign a token that counts as issued at `now`."""
