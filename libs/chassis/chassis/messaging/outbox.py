"""The outbox of a unit of work: events that are written with its commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from opentelemetry.trace import SpanKind
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from chassis import telemetry
from chassis.data.tables import OUTBOX
from chassis.ids import new_id
from chassis.messaging.events import Envelope, digest, subject_of
from chassis.rpc.caller import Actor, call_or_none


@dataclass(frozen=True, slots=True)
class Cause:
    """The call that made a job or an event, which is now being worked on."""

    request_id: str = ""
    client_address: str = ""
    traceparent: str = ""


NO_CAUSE = Cause()
_cause: ContextVar[Cause] = ContextVar("cause", default=NO_CAUSE)


@contextmanager
def causing(cause: Cause, name: str, **attributes: str) -> Iterator[None]:
    """Trace the block as work that `cause` asked for; what it announces carries that cause on."""
    token = _cause.set(cause)
    try:
        with telemetry.span(name, kind=SpanKind.CONSUMER, parent=cause.traceparent, **attributes):
            yield
    finally:
        _cause.reset(token)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the events of a unit of work come from."""

    service: str
    organization_id: UUID | None
    actor: Actor
    time: datetime
    request_id: str = ""
    client_address: str = ""
    traceparent: str = ""

    @classmethod
    def here(cls, *, service: str, organization_id: UUID | None, actor: Actor, time: datetime) -> Origin:
        """Return the origin of what this task does: in a call, or in a job or consumer that one caused."""
        call = call_or_none()
        cause = Cause(call.request_id, call.client_address) if call is not None else _cause.get()
        traceparent = telemetry.current_traceparent() or cause.traceparent
        return cls(service, organization_id, actor, time, cause.request_id, cause.client_address, traceparent)


class Outbox:
    """Collects the events of a unit of work; they are written with its commit or not at all."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.pending: list[tuple[Envelope, Message]] = []

    def add(
        self,
        event: Message,
        *,
        target: str = "",
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
        revision: int = 0,
        organization_id: UUID | None = None,
    ) -> UUID:
        """Announce a fact and return the id of the event.

        `target` is the typed id of what changed; of `before` and `after` only digests are kept. `organization_id` is
        that of the unit of work unless the event is about another: a sign-up, say.
        Raises NotAnEvent when the message has no subject.
        """
        origin = self._origin
        owner = organization_id or origin.organization_id
        envelope = Envelope(
            event_id=new_id(),
            subject=subject_of(type(event), service=origin.service),
            time=origin.time,
            organization_id=owner,
            actor=origin.actor,
            request_id=origin.request_id,
            client_address=origin.client_address,
            target=target,
            before_digest=digest(owner, before),
            after_digest=digest(owner, after),
            revision=revision,
            traceparent=origin.traceparent,
            message_type=event.DESCRIPTOR.full_name,
        )
        self.pending.append((envelope, event))
        return envelope.event_id

    def take(self) -> dict[UUID | None, list[dict[str, Any]]]:  # Any: values of a row, one type a column
        """Return the rows to write, by organization, and forget them."""
        rows: dict[UUID | None, list[dict[str, Any]]] = {}
        for envelope, message in self.pending:
            rows.setdefault(envelope.organization_id, []).append(to_row(envelope, message))
        self.pending.clear()
        return rows


def to_row(envelope: Envelope, message: Message) -> dict[str, Any]:  # Any: values of a row, one type a column
    """Return an event as a row of the outbox."""
    return {
        "id": envelope.event_id,
        "organization_id": envelope.organization_id,
        "subject": envelope.subject,
        "message_type": envelope.message_type,
        "payload": message.SerializeToString(deterministic=True),
        "actor_subject": envelope.actor.subject,
        "actor_kind": envelope.actor.kind,
        "request_id": envelope.request_id,
        "client_address": envelope.client_address,
        "target": envelope.target,
        "before_digest": envelope.before_digest,
        "after_digest": envelope.after_digest,
        "revision": envelope.revision,
        "traceparent": envelope.traceparent,
        "time": envelope.time,
    }


def from_row(row: Any) -> Envelope:  # Any: a row of SQLAlchemy, whose columns are not typed
    """Return the envelope of a row of the outbox."""
    return Envelope(
        event_id=row.id,
        subject=row.subject,
        time=row.time,
        organization_id=row.organization_id,
        actor=Actor(row.actor_subject, row.actor_kind),
        request_id=row.request_id,
        client_address=row.client_address,
        target=row.target,
        before_digest=row.before_digest,
        after_digest=row.after_digest,
        revision=row.revision,
        traceparent=row.traceparent,
        message_type=row.message_type,
    )


async def write(connection: AsyncConnection | AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of `take` in the transaction of the caller."""
    if rows:
        await connection.execute(insert(OUTBOX), list(rows))
