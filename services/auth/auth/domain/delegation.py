"""Which process of the fleet may act for whom, and what it may do as itself.

This table is the whole policy: a process that isn't in it gets no token. Internal RPCs name the processes they accept
by themselves, so a process needs grants of its own only for RPCs that people call as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """Whom a process can act for."""

    USER = "user"
    API_KEY = "api_key"


@dataclass(frozen=True)
class Delegation:
    """What one process may ask of MintServiceContext."""

    acts_for: frozenset[ActorKind] = frozenset()
    own_grants: tuple[str, ...] = ()


_PEOPLE_AND_KEYS = frozenset({ActorKind.USER, ActorKind.API_KEY})

DELEGATIONS: Mapping[str, Delegation] = {
    # The gateway only passes credentials on; it has nothing to do on its own.
    "org": Delegation(),
    # Ingest of an accepted document must outlive its uploader, so kb acts as itself only.
    "kb": Delegation(),
    # The job that repeats a lost StartRun acts for the author of the message.
    "conversation": Delegation(acts_for=_PEOPLE_AND_KEYS),
    # A run searches and uses tools with the rights of whoever started it.
    "agent": Delegation(acts_for=_PEOPLE_AND_KEYS),
    "tool": Delegation(),
    "auth": Delegation(),
}


def may_act_for(process: str, kind: ActorKind) -> bool:
    """Say whether the process may act for actors of this kind."""
    delegation = DELEGATIONS.get(process)
    return delegation is not None and kind in delegation.acts_for


def may_act_as_itself(process: str) -> bool:
    """Say whether the process may have a token of its own."""
    return process in DELEGATIONS


def own_grants(process: str) -> tuple[str, ...]:
    """Return what the process may do as itself, besides internal RPCs that accept it."""
    return DELEGATIONS[process].own_grants
