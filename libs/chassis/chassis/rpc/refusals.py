"""Counts refused accesses, so that a flood of them costs a number in memory and, once a second, one record."""

from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from chassis.errors import FleetError
from chassis.rpc.caller import Actor, CallContext

MOST_KINDS = 1000
"""Kinds of refusals that are told apart between two flushes; what is beyond is counted without its details."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refused access."""

    organization_id: UUID | None
    actor: Actor
    method: str
    permission: str
    reason: str
    client_address: str


class Refusals:
    """What was refused since the last flush."""

    def __init__(self) -> None:
        self._counts: Counter[Refusal] = Counter()

    def count(self, call: CallContext, *, permission: str, error: FleetError) -> None:
        """Count a refusal of the call."""
        caller = call.caller
        actor = Actor.of(caller) if caller else Actor("", "")
        organization_id = caller.organization_id if caller else None
        refusal = Refusal(organization_id, actor, call.method, permission, error.reason, call.client_address)
        if refusal not in self._counts and len(self._counts) >= MOST_KINDS:
            refusal = Refusal(organization_id, Actor("", ""), "", "", error.reason, "")
        self._counts[refusal] += 1

    def take(self) -> Counter[Refusal]:
        """Return what was counted, and start anew."""
        taken, self._counts = self._counts, Counter()
        return taken

    def put_back(self, counts: Counter[Refusal]) -> None:
        """Count again what could not be recorded, up to the same bound."""
        for refusal, number in counts.items():
            if refusal in self._counts or len(self._counts) < MOST_KINDS:
                self._counts[refusal] += number
