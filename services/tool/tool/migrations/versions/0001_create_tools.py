"""Create tools, their versions and executions, and the tables every service has."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.data import migrations as chassis_ops

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "tool"


def upgrade() -> None:
    chassis_ops.shared_v1(SCHEMA)
    _create_tools()
    _create_tool_versions()
    _create_executions()


def _create_tools() -> None:
    op.create_table(
        "tools",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", postgresql.JSONB(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        schema=SCHEMA,
    )
    op.create_index("uq_tools_name", "tools", ["organization_id", sa.text("lower(name)")], unique=True, schema=SCHEMA)
    chassis_ops.protect_tenant(SCHEMA, "tools")


def _create_tool_versions() -> None:
    op.create_table(
        "tool_versions",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", postgresql.JSONB(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "tool_id"],
            [f"{SCHEMA}.tools.organization_id", f"{SCHEMA}.tools.id"],
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_tool_versions_version",
        "tool_versions",
        ["organization_id", "tool_id", "version"],
        unique=True,
        schema=SCHEMA,
    )
    chassis_ops.protect_tenant(SCHEMA, "tool_versions")


def _create_executions() -> None:
    op.create_table(
        "executions",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        sa.Column("tool_name", sa.Text(), nullable=False),
        sa.Column("tool_version", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Uuid()),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("arguments", postgresql.JSONB(), nullable=False),
        sa.Column("output", postgresql.JSONB()),
        sa.Column("is_error", sa.Boolean(), nullable=False),
        sa.Column("error_reason", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("duration_ms", sa.Integer()),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_executions_call",
        "executions",
        ["organization_id", "run_id", "call_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("run_id IS NOT NULL"),
    )
    op.create_index("ix_executions_time", "executions", ["organization_id", "create_time", "id"], schema=SCHEMA)
    op.create_index(
        "ix_executions_tool", "executions", ["organization_id", "tool_id", "create_time", "id"], schema=SCHEMA
    )
    chassis_ops.protect_tenant(SCHEMA, "executions")


def downgrade() -> None:
    for table in ("executions", "tool_versions", "tools"):
        op.drop_table(table, schema=SCHEMA)
    chassis_ops.drop_shared(SCHEMA)
