"""Create conversations and messages, and the tables every service has."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.data import migrations as chassis_ops

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "conversation"


def upgrade() -> None:
    chassis_ops.shared_v1(SCHEMA)
    _create_conversations()
    _create_messages()


def _create_conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("end_user", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Uuid()),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("message_count", sa.Integer(), nullable=False),
        sa.Column("last_message_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_conversations_owner",
        "conversations",
        ["organization_id", "owner_id", "end_user", "archived", "last_message_time", "id"],
        schema=SCHEMA,
    )
    chassis_ops.protect_tenant(SCHEMA, "conversations")


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("organization_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("citations", postgresql.JSONB(), nullable=False),
        sa.Column("run_id", sa.Uuid()),
        sa.Column("error_reason", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("complete_time", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["organization_id", "conversation_id"],
            [f"{SCHEMA}.conversations.organization_id", f"{SCHEMA}.conversations.id"],
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_messages_position",
        "messages",
        ["organization_id", "conversation_id", "position"],
        unique=True,
        schema=SCHEMA,
    )
    op.create_index("ix_messages_run", "messages", ["organization_id", "run_id"], schema=SCHEMA)
    chassis_ops.protect_tenant(SCHEMA, "messages")


def downgrade() -> None:
    op.drop_table("messages", schema=SCHEMA)
    op.drop_table("conversations", schema=SCHEMA)
    chassis_ops.drop_shared(SCHEMA)
