"""What was revoked lately, and who has to be told.

A context token lives 60 seconds, so a revocation needs to be remembered a little longer than that and no more.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from chassis import ids
from chassis.rpc.caller import Caller
from definable.auth.v1.authentication_service_pb2 import Revocation

_REMEMBERED = timedelta(seconds=120)

IsRevoked = Callable[[Caller], bool]
Listener = Callable[[IsRevoked], None]


@dataclass(frozen=True, slots=True)
class _Rule:
    """Covers callers that equal it in each field that is set and whose token is not younger than `time`."""

    time: datetime
    session_id: str
    key_id: str
    principal_id: UUID | None
    organization_id: UUID | None

    def covers(self, caller: Caller) -> bool:
        return (
            caller.issue_time <= self.time
            and self.session_id in ("", caller.credential_id)
            and self.key_id in ("", caller.subject)
            and self.principal_id in (None, caller.principal_id)
            and self.organization_id in (None, caller.organization_id)
        )

    @property
    def index(self) -> object:
        """The most telling field that is set: what the rule is filed under."""
        return self.session_id or self.key_id or self.principal_id or self.organization_id or None


class Revocations:
    """The revocations of the last two minutes."""

    def __init__(self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._rules: dict[object, list[_Rule]] = {}
        self._arrivals: list[tuple[datetime, object]] = []
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` at each revocation with a test for callers that it covers; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def apply(self, revocation: Revocation) -> None:
        """Take in a revocation. Heartbeats, and what names nobody, do nothing. Raises InvalidId on malformed ids."""
        rule = _rule(revocation)
        if rule.index is None:
            return
        self._forget_old()
        self._rules.setdefault(rule.index, []).append(rule)
        self._arrivals.append((self._clock(), rule.index))
        for listener in list(self._listeners):
            listener(rule.covers)

    def cover(self, caller: Caller) -> bool:
        """Whether a remembered revocation covers the caller."""
        return any(rule.covers(caller) for rule in self._candidates(caller))

    def _candidates(self, caller: Caller) -> Iterable[_Rule]:
        for index in (caller.credential_id, caller.subject, caller.principal_id, caller.organization_id):
            if index:
                yield from self._rules.get(index, ())

    def _forget_old(self) -> None:
        horizon = self._clock() - _REMEMBERED
        old = 0
        for arrival, index in self._arrivals:
            if arrival > horizon:
                break
            old += 1
            rules = self._rules[index]
            rules.pop(0)
            if not rules:
                del self._rules[index]
        del self._arrivals[:old]


def _rule(revocation: Revocation) -> _Rule:
    return _Rule(
        time=revocation.time.ToDatetime(UTC),
        session_id=revocation.session_id,
        key_id=revocation.key_id,
        principal_id=ids.USER.parse(revocation.user_id) if revocation.user_id else None,
        organization_id=ids.ORGANIZATION.parse(revocation.organization_id) if revocation.organization_id else None,
    )
