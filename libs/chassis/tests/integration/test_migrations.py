"""Bootstrap and histories."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from shop.models import Base
from shop.settings import ShopSettings
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.data import migrations
from chassis.data.database import Database, engine_url
from chassis.data.tables import SHARED
from chassis.testing.servers import database_settings

T = TypeVar("T")
VERSIONS = "shop.migrations.versions"


@pytest.fixture
async def settings() -> ShopSettings:
    settings = ShopSettings(database=database_settings())
    await migrations.bootstrap(settings)
    return settings


async def look(settings: ShopSettings, function: Callable[[Connection], T]) -> T:
    password = settings.database.owner_password.get_secret_value()
    engine = create_async_engine(engine_url(settings.database, "shop_owner", password))
    async with engine.connect() as connection:
        result = await connection.run_sync(function)
    await engine.dispose()
    return result


def tables(connection: Connection) -> set[str]:
    return set(connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'shop'")))


class TestBootstrap:
    async def test_changes_nothing_when_run_again(self, settings: ShopSettings) -> None:
        await migrations.run(settings)
        await migrations.bootstrap(settings)
        assert await look(settings, lambda c: migrations.current_revision(c, "shop")) == "0002"

    async def test_can_run_for_many_services_at_once(self) -> None:
        database = database_settings()
        several = [ShopSettings(name=f"shop{number}", database=database) for number in range(4)]

        await asyncio.gather(*(migrations.bootstrap(settings) for settings in several))

        for settings in several:
            running = Database(database, service=settings.name)
            await running.ping()
            await running.check_roles()
            await running.close()

    async def test_needs_an_administrator(self) -> None:
        settings = ShopSettings(database=database_settings().model_copy(update={"admin_url": None}))
        with pytest.raises(migrations.AdminUrlMissing):
            await migrations.bootstrap(settings)

    async def test_keeps_other_roles_out(self, settings: ShopSettings) -> None:
        other = ShopSettings(name="rival", database=settings.database)
        await migrations.bootstrap(other)
        await migrations.run(settings)
        connection = await asyncpg.connect(
            host=settings.database.host,
            port=settings.database.port,
            database=settings.database.name,
            user="rival_app",
            password=settings.database.app_password.get_secret_value(),
        )
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("SELECT * FROM shop.outbox")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("CREATE TABLE public.trap (id int)")
        finally:
            await connection.close()


class TestRun:
    async def test_goes_up_and_down(self, settings: ShopSettings) -> None:
        await migrations.run(settings, target="0001")
        assert await look(settings, lambda c: migrations.current_revision(c, "shop")) == "0001"
        await migrations.run(settings)
        assert await look(settings, lambda c: migrations.current_revision(c, "shop")) == "0002"
        await migrations.run(settings, target="0001")
        assert await look(settings, lambda c: migrations.current_revision(c, "shop")) == "0001"
        await migrations.run(settings, target="base")
        assert await look(settings, tables) == {"alembic_version"}
        await migrations.run(settings)
        assert migrations.head_revision(VERSIONS) == "0002"

    async def test_takes_turns_with_another_process(self, settings: ShopSettings) -> None:
        await asyncio.gather(*(migrations.run(settings) for _ in range(3)))
        assert await look(settings, lambda c: migrations.current_revision(c, "shop")) == "0002"

    async def test_gives_up_on_a_lock_instead_of_stopping_the_service(self, settings: ShopSettings) -> None:
        await migrations.run(settings)
        password = settings.database.owner_password.get_secret_value()
        engine = create_async_engine(engine_url(settings.database, "shop_owner", password))
        async with engine.begin() as connection:
            await connection.execute(text("LOCK TABLE shop.currencies IN SHARE MODE"))
            with pytest.raises(DBAPIError, match="lock timeout"):
                await migrations.run(settings, target="0001")
        await engine.dispose()

        assert await look(settings, lambda c: migrations.current_revision(c, "shop")) == "0002"


class TestModels:
    async def test_are_what_the_migrations_make(self, settings: ShopSettings) -> None:
        await migrations.run(settings)

        def differences(connection: Connection) -> list[object]:
            options = migrations.configuration("shop", Base.metadata)
            return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

        assert await look(settings, differences) == []

    async def test_of_the_shared_tables_are_what_the_operations_make(self, settings: ShopSettings) -> None:
        await migrations.run(settings)

        def columns(connection: Connection) -> dict[str, set[tuple[str, bool]]]:
            query = text(
                "SELECT table_name, column_name, is_nullable = 'YES' FROM information_schema.columns "
                "WHERE table_schema = 'shop'"
            )
            found: dict[str, set[tuple[str, bool]]] = {}
            for table, column, nullable in connection.execute(query):
                found.setdefault(table, set()).add((column, nullable))
            return found

        real = await look(settings, columns)
        for name, table in SHARED.tables.items():
            assert real[name] == {(column.name, bool(column.nullable)) for column in table.columns}

    async def test_say_which_level_the_shared_tables_are_at(self, settings: ShopSettings) -> None:
        await migrations.run(settings)
        levels = await look(settings, lambda c: migrations.shared_levels(c, "shop"))
        assert levels == dict.fromkeys(SHARED.tables, 1)
