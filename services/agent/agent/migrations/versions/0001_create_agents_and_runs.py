"""Create agents, runs and their journal, and the tables every service has."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from chassis.data import migrations as chassis_ops

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "agent"
TABLES = ("agents", "agent_versions", "runs", "run_steps", "run_events", "run_leases")


def upgrade() -> None:
    chassis_ops.outbox_v1(SCHEMA)
    chassis_ops.inbox_v1(SCHEMA)
    chassis_ops.jobs_v1(SCHEMA)
    chassis_ops.idempotency_v1(SCHEMA)
    chassis_ops.dead_letters_v1(SCHEMA)
    _create_agents()
    _create_agent_versions()
    _create_runs()
    _create_run_steps()
    _create_run_events()
    _create_run_leases()
    for table in TABLES:
        chassis_ops.protect_tenant(SCHEMA, table)
    chassis_ops.grant_machinery(SCHEMA, "run_events", "SELECT, INSERT")
    chassis_ops.grant_machinery(SCHEMA, "run_leases", "SELECT, UPDATE")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table, schema=SCHEMA)
    chassis_ops.drop_shared(SCHEMA)


def _create_agents() -> None:
    op.create_table(
        "agents",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("definition", JSONB(), nullable=False),
        sa.Column("published_version", sa.Integer(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ix_agents_create_time", "agents", ["organization_id", "create_time", "id"], schema=SCHEMA)
    op.create_index(
        "uq_agents_display_name",
        "agents",
        ["organization_id", sa.text("lower(display_name)")],
        unique=True,
        schema=SCHEMA,
    )


def _create_agent_versions() -> None:
    op.create_table(
        "agent_versions",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", JSONB(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "agent_id"],
            [f"{SCHEMA}.agents.organization_id", f"{SCHEMA}.agents.id"],
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    columns = ["organization_id", "agent_id", "version"]
    op.create_index("uq_agent_versions_version", "agent_versions", columns, unique=True, schema=SCHEMA)


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("end_user", sa.Text(), nullable=False),
        sa.Column("actor_subject", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Uuid()),
        sa.Column("agent_version", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("definition", JSONB(), nullable=False),
        sa.Column("history", JSONB(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Uuid()),
        sa.Column("message_id", sa.Uuid()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("required_action", JSONB()),
        sa.Column("output_text", sa.Text(), nullable=False),
        sa.Column("citations", JSONB(), nullable=False),
        sa.Column("error_reason", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        *_usage_columns(),
        sa.Column("step_count", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True)),
        sa.Column("deadline_time", sa.DateTime(timezone=True)),
        sa.Column("wait_time", sa.DateTime(timezone=True)),
        sa.Column("end_time", sa.DateTime(timezone=True)),
        schema=SCHEMA,
    )
    owner = ["organization_id", "owner_id", "end_user", "create_time", "id"]
    op.create_index("ix_runs_owner", "runs", owner, schema=SCHEMA)
    op.create_index("ix_runs_create_time", "runs", ["organization_id", "create_time", "id"], schema=SCHEMA)


def _create_run_steps() -> None:
    op.create_table(
        "run_steps",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("step", sa.Integer(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("input", JSONB(), nullable=False),
        sa.Column("output", JSONB(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        *_usage_columns(),
        sa.Column("error_reason", sa.Text(), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["organization_id", "run_id"], [f"{SCHEMA}.runs.organization_id", f"{SCHEMA}.runs.id"], ondelete="CASCADE"
        ),
        schema=SCHEMA,
    )


def _usage_columns() -> list[sa.Column[int]]:
    return [
        sa.Column(name, sa.BigInteger(), nullable=False) for name in ("input_tokens", "output_tokens", "cost_nano_usd")
    ]


def _create_run_events() -> None:
    op.create_table(
        "run_events",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("seq", sa.BigInteger(), primary_key=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        schema=SCHEMA,
    )


def _create_run_leases() -> None:
    op.create_table(
        "run_leases",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        schema=SCHEMA,
    )
