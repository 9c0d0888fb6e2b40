"""The checks that services run on their tables find what is wrong."""

import asyncpg
import pytest
from shop.models import Base
from shop.settings import ShopSettings

from chassis.data import migrations
from chassis.data.database import Database
from chassis.testing.schema import migration_differences, table_problems
from chassis.testing.servers import SERVERS


async def change(database: Database, sql: str) -> None:
    connection = await asyncpg.connect(SERVERS.postgres.address.url(database.settings.name))
    await connection.execute(sql)
    await connection.close()


async def test_find_nothing_wrong_with_the_shop(database: Database) -> None:
    assert await table_problems(database, Base.metadata) == []
    assert await migration_differences(database, Base.metadata) == []


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("ALTER TABLE shop.articles NO FORCE ROW LEVEL SECURITY", "articles: row-level security is not forced"),
        ("ALTER TABLE shop.outbox DISABLE ROW LEVEL SECURITY", "outbox: row-level security is not forced"),
        ("DROP POLICY app ON shop.articles", "articles: no policy of the app role compares with app.organization_id"),
        ("DROP POLICY app ON shop.preferences", "preferences: no policy of the app role compares with app.user_id"),
        ("CREATE TABLE shop.stray (id int)", "stray: no model says which kind of table it is"),
        ("DROP TABLE shop.currencies", "currencies: is in the models but not in the database"),
    ],
)
async def test_find_a_table_that_is_open(fresh_database: Database, sql: str, problem: str) -> None:
    await change(fresh_database, sql)
    assert problem in await table_problems(fresh_database, Base.metadata)


async def test_find_a_column_that_no_migration_made(fresh_database: Database) -> None:
    await change(fresh_database, "ALTER TABLE shop.articles DROP COLUMN price")
    assert any("price" in str(difference) for difference in await migration_differences(fresh_database, Base.metadata))


async def test_revisions_are_told_per_schema(shop_settings: ShopSettings) -> None:
    assert migrations.head_revision("shop.migrations.versions") == "0002"
