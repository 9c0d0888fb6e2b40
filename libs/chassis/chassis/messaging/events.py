"""Events: facts in the past tense, in an envelope that says who, where and about what.

On the wire they are CloudEvents 1.0 in binary mode: the envelope in `ce-…` headers, the protobuf message as the data.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote, unquote
from uuid import UUID

from google.protobuf import symbol_database
from google.protobuf.message import DecodeError, Message

from chassis.errors import InvalidId
from chassis.ids import ORGANIZATION, USER
from chassis.rpc.caller import Actor, CallerKind
from definable.jobs.v1 import events_pb2 as job_events
from definable.options.v1 import options_pb2

SUBJECT_ROOT = "definable"
E = TypeVar("E", bound=Message)

SHARED_EVENTS: Mapping[type[Message], str] = {
    job_events.JobQueued: "job.queued",
    job_events.JobProgressed: "job.progressed",
    job_events.JobFinished: "job.finished",
}
"""Events that every service announces, each under its own name. Others say so by `{service}` in their subject."""


class NotAnEvent(TypeError):
    """The message type has no subject: `option (definable.options.v1.event) = {subject: …}` is missing."""


class UnreadableEvent(TypeError):
    """The payload is not what its consumer can read; trying again is no use."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is known of every event, whatever its message is."""

    event_id: UUID
    subject: str
    """The fact's name: "definable.kb.document.indexed.v1"."""
    time: datetime
    organization_id: UUID | None = None
    actor: Actor = field(default_factory=lambda: Actor("", ""))
    """Whoever caused it. Of `principal_id` and `end_user` nothing travels, except that a user is its own principal."""
    request_id: str = ""
    client_address: str = ""
    target: str = ""
    """Id of the resource that changed."""
    before_digest: str = ""
    after_digest: str = ""
    revision: int = 0
    """Rises with each change of the target; 0 where nobody counts. Consumers keep the highest."""
    traceparent: str = ""
    message_type: str = ""
    """Full name of the protobuf message: "definable.kb.v1.DocumentIndexed"."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of an event to one consumer; `message` is None where its type is not known here."""

    envelope: Envelope
    payload: bytes
    message: Message | None = None
    consumer: str = ""
    """Name of the consumer, the key of its inbox."""
    attempt: int = 1

    def of(self, kind: type[E]) -> E:
        """Return the message as the type that it is. Raises UnreadableEvent when it is another or damaged."""
        if not isinstance(self.message, kind):
            raise UnreadableEvent(f"{self.envelope.subject} is not a {kind.DESCRIPTOR.full_name}")
        return self.message


def subject_of(kind: type[Message], *, service: str = "") -> str:
    """Return the subject of an event type; that of a shared event has the service in it.

    Raises NotAnEvent.
    """
    if kind in SHARED_EVENTS:
        return f"{SUBJECT_ROOT}.{service}.{SHARED_EVENTS[kind]}.v1"
    subject = kind.DESCRIPTOR.GetOptions().Extensions[options_pb2.event].subject
    if not subject:
        raise NotAnEvent(kind.DESCRIPTOR.full_name)
    # What every service announces in its own name stands in the contract as "definable.{service}.….v1".
    return str(subject).replace("{service}", service)


def producer_of(subject: str) -> str:
    """Return the service that a subject belongs to."""
    return subject.split(".")[1]


def stream_name(service: str) -> str:
    """Return the name of the stream that a service declares."""
    return f"{SUBJECT_ROOT}_{service}"


def digest(organization_id: UUID | None, content: Mapping[str, object] | None) -> str:
    """Return a digest of a resource's content that means nothing in another organization; empty for None.

    Equal content has equal digests whatever the order of its keys.
    """
    if content is None:
        return ""
    # Not orjson: what Postgres kept as a number may come back as an integer that is beyond 64 bits.
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    key = organization_id.bytes if organization_id else SUBJECT_ROOT.encode()
    return hmac.digest(key, canonical.encode(), "sha256").hex()


def to_headers(envelope: Envelope) -> dict[str, str]:
    """Return the CloudEvents headers of an event, values percent-encoded where they are not plain ASCII."""
    organization = ORGANIZATION.show(envelope.organization_id) if envelope.organization_id else ""
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": str(envelope.event_id),
        "ce-source": f"/{SUBJECT_ROOT}/{producer_of(envelope.subject)}",
        "ce-type": envelope.subject,
        "ce-time": envelope.time.isoformat(),
        "ce-subject": envelope.target,
        "ce-organizationid": organization,
        "ce-actor": envelope.actor.subject,
        "ce-actorkind": envelope.actor.kind,
        "ce-requestid": envelope.request_id,
        "ce-clientaddress": envelope.client_address,
        "ce-beforedigest": envelope.before_digest,
        "ce-afterdigest": envelope.after_digest,
        "ce-revision": str(envelope.revision),
        "ce-messagetype": envelope.message_type,
        "traceparent": envelope.traceparent,
    }
    encoded = {name: quote(value, safe="/:.+,;=@_-") for name, value in attributes.items() if value}
    return {**encoded, "content-type": "application/protobuf"}


def from_headers(headers: Mapping[str, str]) -> Envelope:
    """Return the envelope in CloudEvents headers. Raises ValueError or KeyError when they are not ours."""
    values = {name.lower(): unquote(value) for name, value in headers.items()}
    organization = values.get("ce-organizationid", "")
    return Envelope(
        event_id=UUID(values["ce-id"]),
        subject=values["ce-type"],
        time=datetime.fromisoformat(values["ce-time"]),
        organization_id=ORGANIZATION.parse(organization) if organization else None,
        actor=actor_of(values.get("ce-actor", ""), values.get("ce-actorkind", "")),
        request_id=values.get("ce-requestid", ""),
        client_address=values.get("ce-clientaddress", ""),
        target=values.get("ce-subject", ""),
        before_digest=values.get("ce-beforedigest", ""),
        after_digest=values.get("ce-afterdigest", ""),
        revision=int(values.get("ce-revision", "0")),
        traceparent=values.get("traceparent", ""),
        message_type=values.get("ce-messagetype", ""),
    )


def actor_of(subject: str, kind: str) -> Actor:
    """Return the actor that an envelope names; a user is its own principal."""
    try:
        principal = USER.parse(subject) if kind == CallerKind.USER else None
    except InvalidId:
        principal = None
    return Actor(subject, kind, principal)


def message_class(full_name: str) -> type[Message] | None:
    """Return the class of a message by its full name, None when its module has not been imported."""
    try:
        return symbol_database.Default().GetSymbol(full_name)
    except KeyError:
        return None


def read_message(full_name: str, payload: bytes) -> Message | None:
    """Return the message of an event, None when its type is not known here or the payload is damaged."""
    kind = message_class(full_name)
    try:
        return kind.FromString(payload) if kind else None
    except DecodeError:
        return None
