"""The outbox of a unit of work, and the relay that publishes what was committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from chassis.data.tables import OUTBOX
from chassis.ids import new_id
from chassis.messaging.events import Envelope, digest, subject_of
from chassis.rpc.caller import Actor, CallContext


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
    def of_call(
        cls, call: CallContext | None, *, service: str, organization_id: UUID | None, actor: Actor, time: datetime
    ) -> Origin:
        """Return the origin inside a call, or outside of one for jobs and consumers."""
        if call is None:
            return cls(service, organization_id, actor, time)
        return cls(service, organization_id, actor, time, call.request_id, call.client_address, call.traceparent)


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
