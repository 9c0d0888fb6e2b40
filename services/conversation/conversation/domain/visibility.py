"""Who sees a conversation: the principal it belongs to, and under one API key each end user only their own."""

from dataclasses import dataclass
from uuid import UUID

READ_ALL = "conversation.conversations.read_all"


@dataclass(frozen=True)
class Owner:
    """A person, and the end user that an API key named on top ("" without one)."""

    principal_id: UUID
    end_user: str = ""
