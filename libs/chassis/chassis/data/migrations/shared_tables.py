"""Versioned operations that make the tables every service has. Never edited once released: a change is a `_v2`.

The level of a table is kept as its comment, so that a test can compare the services. Tables without an organization
(a user's event, the machinery's own job) hold null there, which the app role sees only in a unit without one.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Connection, text

from chassis.data.migrations.operations import (
    CURRENT_ORGANIZATION,
    grant_machinery,
    protect,
    quoted,
)

SAME_ORGANIZATION = f"organization_id IS NOT DISTINCT FROM {CURRENT_ORGANIZATION}"


def outbox_v1(schema: str) -> None:
    """Make the outbox: events committed with their change, a NOTIFY on each insert."""
    _create(
        schema,
        "outbox",
        """
        id uuid PRIMARY KEY,
        organization_id uuid,
        subject text NOT NULL,
        message_type text NOT NULL,
        payload bytea NOT NULL,
        actor_subject text NOT NULL,
        actor_kind text NOT NULL,
        request_id text NOT NULL,
        client_address text NOT NULL,
        target text NOT NULL,
        before_digest text NOT NULL,
        after_digest text NOT NULL,
        revision bigint NOT NULL,
        traceparent text NOT NULL,
        time timestamptz NOT NULL,
        sent_at timestamptz,
        stream_sequence bigint
        """,
        level=1,
    )
    _index(schema, "outbox", "ix_outbox_unsent", "(id) WHERE sent_at IS NULL")
    _index(schema, "outbox", "ix_outbox_sent_at", "(sent_at) WHERE sent_at IS NOT NULL")
    _protect_shared(schema, "outbox")
    _notify(schema)


def inbox_v1(schema: str) -> None:
    """Make the inbox: which events a consumer has taken effect of."""
    _create(
        schema,
        "inbox",
        """
        consumer text NOT NULL,
        event_id uuid NOT NULL,
        receive_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (consumer, event_id)
        """,
        level=1,
    )
    _index(schema, "inbox", "ix_inbox_receive_time", "(receive_time)")
    # It holds consumer names and event ids only, of whatever organization the event was.
    protect(schema, "inbox", "true")
    grant_machinery(schema, "inbox")


def jobs_v1(schema: str) -> None:
    """Make the jobs: work that outlives its call, leased by workers and fenced by epoch."""
    _create(
        schema,
        "jobs",
        """
        id uuid PRIMARY KEY,
        organization_id uuid,
        kind text NOT NULL,
        target text NOT NULL,
        payload jsonb NOT NULL,
        state text NOT NULL CHECK (state IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
        actor jsonb NOT NULL,
        request_id text NOT NULL,
        traceparent text NOT NULL,
        attempt integer NOT NULL DEFAULT 0,
        epoch bigint NOT NULL DEFAULT 0,
        run_after timestamptz NOT NULL,
        lease_until timestamptz,
        cancel_requested boolean NOT NULL DEFAULT false,
        progress_done bigint NOT NULL DEFAULT 0,
        progress_total bigint NOT NULL DEFAULT 0,
        progress_note text NOT NULL DEFAULT '',
        error_reason text NOT NULL DEFAULT '',
        error_message text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL DEFAULT now(),
        start_time timestamptz,
        end_time timestamptz,
        CHECK ((state = 'RUNNING') = (lease_until IS NOT NULL)),
        CHECK ((state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')) = (end_time IS NOT NULL))
        """,
        level=1,
    )
    _index(schema, "jobs", "ix_jobs_queued", "(kind, run_after) WHERE state = 'QUEUED'")
    _index(schema, "jobs", "ix_jobs_running", "(kind, lease_until) WHERE state = 'RUNNING'")
    _index(schema, "jobs", "ix_jobs_end_time", "(end_time) WHERE end_time IS NOT NULL")
    _protect_shared(schema, "jobs")


def idempotency_v1(schema: str) -> None:
    """Make the table of idempotency keys: a reservation, then the reply to repeat."""
    _create(
        schema,
        "idempotency",
        """
        key_digest bytea PRIMARY KEY,
        organization_id uuid,
        request_hash bytea NOT NULL,
        reply_type text NOT NULL DEFAULT '',
        reply bytea,
        is_sealed boolean NOT NULL DEFAULT false,
        reserve_time timestamptz NOT NULL DEFAULT now(),
        expire_time timestamptz NOT NULL
        """,
        level=1,
    )
    _index(schema, "idempotency", "ix_idempotency_expire_time", "(expire_time)")
    _protect_shared(schema, "idempotency")


def dead_letters_v1(schema: str) -> None:
    """Make the table of deliveries that a consumer gave up; the machinery's alone."""
    _create(
        schema,
        "dead_letters",
        """
        consumer text NOT NULL,
        event_id uuid NOT NULL,
        organization_id uuid,
        subject text NOT NULL,
        headers jsonb NOT NULL,
        payload bytea NOT NULL,
        error text NOT NULL,
        deliveries integer NOT NULL,
        create_time timestamptz NOT NULL DEFAULT now(),
        redrive_time timestamptz,
        PRIMARY KEY (consumer, event_id)
        """,
        level=1,
    )
    _protect_shared(schema, "dead_letters")


def shared_v1(schema: str) -> None:
    """Make all of them at once, as the first migration of a service does."""
    for make in (outbox_v1, inbox_v1, jobs_v1, idempotency_v1, dead_letters_v1):
        make(schema)


def drop_shared(schema: str, *tables: str) -> None:
    """Undo the operations above, for the downgrade of the migration that called them; all tables unless named."""
    for table in tables or ("dead_letters", "idempotency", "jobs", "inbox", "outbox"):
        op.execute(f"DROP TABLE {quoted(schema)}.{quoted(table)}")
        if table == "outbox":
            op.execute(f"DROP FUNCTION {quoted(schema)}.notify_outbox()")


def shared_levels(connection: Connection, schema: str) -> dict[str, int]:
    """Return at which level each shared table of a schema is."""
    query = text(
        "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class WHERE relnamespace = to_regnamespace(:s)"
    )
    comments = {name: comment or "" for name, comment in connection.execute(query, {"s": schema})}
    return {
        name: int(level) for name, comment in comments.items() if (level := comment.removeprefix("level ")) != comment
    }


def _create(schema: str, table: str, columns: str, *, level: int) -> None:
    name = f"{quoted(schema)}.{quoted(table)}"
    op.execute(f"CREATE TABLE {name} ({columns})")
    op.execute(f"COMMENT ON TABLE {name} IS 'level {level}'")


def _index(schema: str, table: str, name: str, definition: str) -> None:
    op.execute(f"CREATE INDEX {name} ON {quoted(schema)}.{quoted(table)} {definition}")


def _protect_shared(schema: str, table: str) -> None:
    protect(schema, table, SAME_ORGANIZATION)
    grant_machinery(schema, table)


def _notify(schema: str) -> None:
    # A statement-level trigger: one bell a statement, however many events it wrote, and Postgres folds those of one
    # transaction into one.
    name = quoted(schema)
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION {name}.notify_outbox() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp
        AS $$ BEGIN PERFORM pg_notify(TG_TABLE_SCHEMA || '_outbox', ''); RETURN NULL; END $$
        """
    )
    op.execute(
        f"CREATE TRIGGER notify AFTER INSERT ON {name}.outbox "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}.notify_outbox()"
    )
