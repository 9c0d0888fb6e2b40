"""Whose runs a caller sees."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """A person (and end user, "" without one); with `sees_all` the runs of everyone in the organization."""

    principal_id: UUID
    end_user: str = ""
    sees_all: bool = False
