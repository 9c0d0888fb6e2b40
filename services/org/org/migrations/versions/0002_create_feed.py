"""Create the feed, the audit log and the list of jobs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from chassis.data import migrations as chassis_ops

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    _create_feed()
    _create_audit_entries()
    _create_job_views()


def downgrade() -> None:
    """Drop them."""
    for table in ("job_views", "audit_entries", "feed_entries", "feed_heads"):
        op.drop_table(table, schema="org")


def _create_feed() -> None:
    op.create_table(
        "feed_heads",
        sa.Column("organization_id", sa.Uuid, nullable=False),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name="pk_feed_heads"),
        schema="org",
    )
    op.create_table(
        "feed_entries",
        sa.Column("organization_id", sa.Uuid, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("record_time", _TIME, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("principal_id", sa.Uuid, nullable=True),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("data", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "sequence", name="pk_feed_entries"),
        schema="org",
    )
    op.create_index("ix_feed_entries_record_time", "feed_entries", ["record_time"], schema="org")
    chassis_ops.protect_tenant("org", "feed_heads")
    chassis_ops.protect_tenant("org", "feed_entries")
    chassis_ops.grant_machinery("org", "feed_entries", ("SELECT", "DELETE"))


def _create_audit_entries() -> None:
    texts = (
        "actor",
        "actor_kind",
        "subject",
        "target",
        "before_digest",
        "after_digest",
        "client_address",
        "request_id",
    )
    op.create_table(
        "audit_entries",
        sa.Column("organization_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("data", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_audit_entries"),
        schema="org",
    )
    for column in ("target", "actor"):
        name = f"ix_audit_entries_organization_id_{column}"
        op.create_index(name, "audit_entries", ["organization_id", column, "time"], schema="org")
    op.create_index(
        "ix_audit_entries_organization_id_time", "audit_entries", ["organization_id", "time", "id"], schema="org"
    )
    chassis_ops.protect_tenant("org", "audit_entries")
    # What was recorded stays as it was recorded, whatever the process is made to do.
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON org.audit_entries FROM org_app")


def _create_job_views() -> None:
    op.create_table(
        "job_views",
        sa.Column("organization_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("progress_done", sa.BigInteger, nullable=False),
        sa.Column("progress_total", sa.BigInteger, nullable=False),
        sa.Column("progress_note", sa.Text, nullable=False),
        sa.Column("error_reason", sa.Text, nullable=False),
        sa.Column("error_message", sa.Text, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("start_time", _TIME, nullable=True),
        sa.Column("end_time", _TIME, nullable=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_job_views"),
        schema="org",
    )
    op.create_index(
        "ix_job_views_organization_id_create_time", "job_views", ["organization_id", "create_time", "id"], schema="org"
    )
    op.create_index("ix_job_views_end_time", "job_views", ["end_time"], schema="org")
    chassis_ops.protect_tenant("org", "job_views")
    chassis_ops.grant_machinery("org", "job_views", ("SELECT", "DELETE"))
