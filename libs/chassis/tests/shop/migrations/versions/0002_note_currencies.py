"""Note the currencies that are used."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    currencies = sa.table("currencies", sa.column("code"), schema="shop")
    op.bulk_insert(currencies, [{"code": "EUR"}, {"code": "USD"}])


def downgrade() -> None:
    op.execute("DELETE FROM shop.currencies")
