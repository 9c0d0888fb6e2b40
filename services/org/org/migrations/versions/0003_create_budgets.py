"""Create reservations of budgets and records of usage."""

import sqlalchemy as sa
from alembic import op

from chassis.data import migrations as chassis_ops

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    _create_budget_reservations()
    _create_usage_records()


def downgrade() -> None:
    """Drop them."""
    op.drop_table("usage_records", schema="org")
    op.drop_table("budget_reservations", schema="org")


def _create_budget_reservations() -> None:
    op.create_table(
        "budget_reservations",
        sa.Column("organization_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("granted_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("actual_nano_usd", sa.BigInteger, nullable=True),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("expire_time", _TIME, nullable=False),
        sa.Column("settle_time", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_budget_reservations"),
        schema="org",
    )
    op.create_index("ix_budget_reservations_expire_time", "budget_reservations", ["expire_time"], schema="org")
    chassis_ops.protect_tenant("org", "budget_reservations")
    chassis_ops.grant_machinery("org", "budget_reservations", ("SELECT", "UPDATE"))


def _create_usage_records() -> None:
    counts = ("runs", "steps", "input_tokens", "output_tokens", "embedding_tokens", "cost_nano_usd")
    op.create_table(
        "usage_records",
        sa.Column("organization_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("model", "agent_id", "user_id", "key_id")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in counts),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_usage_records"),
        schema="org",
    )
    op.create_index("ix_usage_records_organization_id_time", "usage_records", ["organization_id", "time"], schema="org")
    chassis_ops.protect_tenant("org", "usage_records")
