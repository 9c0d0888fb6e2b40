"""Create organizations and members, and the tables every service has."""

import sqlalchemy as sa
from alembic import op

from chassis.data import migrations as chassis_ops

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Takes no argument: it shows the memberships of the transaction's own user and of nobody else.
_MEMBERSHIPS = """
CREATE FUNCTION org.memberships_of_current_user()
RETURNS TABLE (
    id uuid, display_name text, slug text, create_time timestamptz, update_time timestamptz, revision integer,
    role text, rank integer, member_since timestamptz
)
LANGUAGE sql STABLE AS $$
    SELECT o.organization_id, o.display_name, o.slug, o.create_time, o.update_time, o.revision,
           m.role, m.rank, m.create_time
    FROM org.members AS m JOIN org.organizations AS o USING (organization_id)
    WHERE m.id = NULLIF(current_setting('app.user_id', true), '')::uuid
$$
"""


def upgrade() -> None:
    """Create the tables."""
    chassis_ops.shared_v1("org")
    _create_organizations()
    _create_members()
    chassis_ops.security_definer("org", _MEMBERSHIPS)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP FUNCTION org.memberships_of_current_user()")
    op.drop_table("members", schema="org")
    op.execute("DROP SEQUENCE org.membership_changes")
    op.drop_table("organizations", schema="org")
    chassis_ops.drop_shared("org")


def _create_organizations() -> None:
    op.create_table(
        "organizations",
        sa.Column("organization_id", sa.Uuid, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("slug", sa.Text, nullable=False),
        sa.Column("provisioned_for", sa.Uuid, nullable=False),
        *_changes(),
        sa.PrimaryKeyConstraint("organization_id", name="pk_organizations"),
        schema="org",
    )
    op.create_index("uq_organizations_slug", "organizations", ["slug"], unique=True, schema="org")
    chassis_ops.protect_tenant("org", "organizations")


def _create_members() -> None:
    op.create_table(
        "members",
        sa.Column("organization_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("change_number", sa.BigInteger, nullable=False),
        *_changes(),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_members"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["org.organizations.organization_id"], name="fk_members_organization_id"
        ),
        schema="org",
    )
    op.create_index("ix_members_organization_id_role", "members", ["organization_id", "role"], schema="org")
    op.create_index(
        "ix_members_organization_id_create_time", "members", ["organization_id", "create_time", "id"], schema="org"
    )
    op.execute("CREATE SEQUENCE org.membership_changes")
    op.execute("GRANT USAGE ON SEQUENCE org.membership_changes TO org_app")
    op.create_index("ix_members_id", "members", ["id"], schema="org")
    chassis_ops.protect_tenant("org", "members")


def _changes() -> list[sa.Column[object]]:
    time = sa.DateTime(timezone=True)
    return [
        sa.Column("create_time", time, server_default=sa.func.now(), nullable=False),
        sa.Column("update_time", time, server_default=sa.func.now(), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    ]
