"""The schema: what migrations make is what the models say, and who sees what."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from auth_testing import AuthUnderTest
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from auth.models import Base
from auth.settings import AuthSettings, TrustSettings
from chassis.data import migrations
from chassis.data.database import TableKind, engine_url
from chassis.data.migrations.history import configuration
from chassis.testing import Authority, database_settings

TABLES = {mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers}


class TestMigrations:
    async def test_make_what_the_models_say(self, auth: AuthUnderTest) -> None:
        async with auth.owner_connection() as connection:
            assert await connection.run_sync(_differences) == []

    async def test_go_back_to_nothing_and_forth_again(self, authority: Authority) -> None:
        settings = AuthSettings(
            name="auth", database=database_settings(), trust=TrustSettings(folder=authority.trust_folder)
        )
        await migrations.bootstrap(settings)
        for target in ("head", "base", "head"):
            await migrations.run(settings, target=target)


class TestRowLevelSecurity:
    @pytest.mark.parametrize("name", sorted(TABLES))
    async def test_stands_before_each_table_but_the_global_ones(self, auth: AuthUnderTest, name: str) -> None:
        async with auth.owner_connection() as connection:
            row = await connection.execute(
                text("SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = CAST(:t AS regclass)"),
                {"t": f"auth.{name}"},
            )
        model = TABLES[name]
        if model.__table_kind__ is TableKind.GLOBAL:
            assert model.__global_reason__
        else:
            assert row.scalar_one()

    async def test_shows_the_serving_role_nobody_unless_told_whom(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        database = auth.service.settings.database
        engine = create_async_engine(engine_url(database, "auth_app", database.app_password.get_secret_value()))
        try:
            async with engine.begin() as connection:
                for name in ("users", "sessions", "refresh_tokens", "api_keys", "membership_answers"):
                    assert (await connection.scalar(text(f"SELECT count(*) FROM auth.{name}"))) == 0
                await connection.execute(
                    text("SELECT set_config('app.user_id', :id, true)"), {"id": str(person.user_id)}
                )
                assert (await connection.scalars(text("SELECT id FROM auth.users"))).all() == [person.user_id]
        finally:
            await engine.dispose()


def _differences(connection: Connection) -> list[Any]:  # operations of alembic
    options = configuration("auth", Base.metadata)
    metadata = options.pop("target_metadata")
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))
