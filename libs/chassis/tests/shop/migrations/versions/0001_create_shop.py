"""Create the tables of the shop."""

import sqlalchemy as sa
from alembic import op

from chassis.data import migrations as chassis_ops

revision = "0001"
down_revision = None


def upgrade() -> None:
    chassis_ops.shared_v1("shop")
    op.create_table(
        "articles",
        sa.Column("organization_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("price", sa.Integer, nullable=False),
        sa.Column("sold_at", sa.DateTime(timezone=True)),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_articles"),
        schema="shop",
    )
    op.create_index(
        "uq_articles_name", "articles", ["organization_id", sa.text("lower(name)")], unique=True, schema="shop"
    )
    op.create_table(
        "preferences",
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("colour", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_preferences"),
        schema="shop",
    )
    op.create_table(
        "currencies",
        sa.Column("code", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_currencies"),
        schema="shop",
    )
    chassis_ops.protect_tenant("shop", "articles")
    chassis_ops.protect_user("shop", "preferences")
    chassis_ops.grant_global("shop", "currencies")
    chassis_ops.security_definer(
        "shop",
        "CREATE FUNCTION shop.article_by_price(wanted integer) RETURNS text LANGUAGE sql STABLE "
        "AS $$ SELECT name::text FROM shop.articles WHERE price = wanted LIMIT 1 $$",
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION shop.article_by_price(integer)")
    for table in ("currencies", "preferences", "articles"):
        op.drop_table(table, schema="shop")
    chassis_ops.drop_shared("shop")
