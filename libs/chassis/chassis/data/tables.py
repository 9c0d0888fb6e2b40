"""The tables that every service has: outbox, inbox, jobs, idempotency, dead letters.

They name no schema: the search path of the role leads to the service's own. `migrations` makes them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, LargeBinary, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

SHARED = MetaData()
"""Apart from the metadata of the services, so that their migrations do not see these tables."""

Timestamp = DateTime(timezone=True)

OUTBOX = Table(
    "outbox",
    SHARED,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid),
    Column("subject", Text, nullable=False),
    Column("message_type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("actor_subject", Text, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("client_address", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("before_digest", Text, nullable=False),
    Column("after_digest", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("time", Timestamp, nullable=False),
    Column("sent_at", Timestamp),
    Column("stream_sequence", BigInteger),
)

INBOX = Table(
    "inbox",
    SHARED,
    Column("consumer", Text, primary_key=True),
    Column("event_id", Uuid, primary_key=True),
    Column("receive_time", Timestamp, nullable=False),
)

JOBS = Table(
    "jobs",
    SHARED,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Column("actor", JSONB, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("run_after", Timestamp, nullable=False),
    Column("lease_until", Timestamp),
    Column("cancel_requested", Boolean, nullable=False),
    Column("progress_done", BigInteger, nullable=False),
    Column("progress_total", BigInteger, nullable=False),
    Column("progress_note", Text, nullable=False),
    Column("error_reason", Text, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("create_time", Timestamp, nullable=False),
    Column("start_time", Timestamp),
    Column("end_time", Timestamp),
)

IDEMPOTENCY = Table(
    "idempotency",
    SHARED,
    Column("key_digest", LargeBinary, primary_key=True),
    Column("organization_id", Uuid),
    Column("request_hash", LargeBinary, nullable=False),
    Column("reply_type", Text, nullable=False),
    Column("reply", LargeBinary),
    Column("is_sealed", Boolean, nullable=False),
    Column("reserve_time", Timestamp, nullable=False),
    Column("expire_time", Timestamp, nullable=False),
)

DEAD_LETTERS = Table(
    "dead_letters",
    SHARED,
    Column("consumer", Text, primary_key=True),
    Column("event_id", Uuid, primary_key=True),
    Column("organization_id", Uuid),
    Column("subject", Text, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("error", Text, nullable=False),
    Column("deliveries", Integer, nullable=False),
    Column("create_time", Timestamp, nullable=False),
    Column("redrive_time", Timestamp),
)
