"""Laws of the databases, read from the catalogue of a server that every service was bootstrapped and migrated on."""

import importlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.data import migrations
from chassis.data.database import TableKind, engine_url, role_name
from chassis.data.tables import SHARED
from chassis.ids import new_id
from chassis.settings import DatabaseSettings
from chassis.testing import database_settings

SERVICES = ("auth", "org", "kb", "conversation", "agent", "tool")
EVERY_SERVICE = pytest.mark.parametrize("service", SERVICES)

GLOBAL_TABLES = {
    "auth.issuer_keys": "the fleet's own keys, readable by auth alone",
    "auth.revocations": "read by every process, names ids only",
    "auth.throttles": "counts attempts by account and address, before anybody is known",
    "auth.used_assertions": "one row a use of a process's assertion",
}
"""Tables without an owner, each with the reason why."""


class Named:
    """What bootstrap and migrations need to know of a service."""

    def __init__(self, name: str, database: DatabaseSettings) -> None:
        self.name = name
        self.database = database


@pytest.fixture(scope="module")
async def database() -> DatabaseSettings:
    """One database with the schemas of all services."""
    settings = database_settings()
    for service in SERVICES:
        await migrations.bootstrap(Named(service, settings))
        await migrations.run(Named(service, settings))
    return settings


async def fetch(database: DatabaseSettings, service: str, role: str, query: str, *arguments: Any) -> list[Any]:
    """Run one statement as one of a service's roles."""
    password: SecretStr = getattr(database, f"{role}_password")
    connection = await asyncpg.connect(
        host=database.host,
        port=database.port,
        database=database.name,
        user=role_name(service, role),
        password=password.get_secret_value(),
    )
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


async def tables(database: DatabaseSettings, service: str) -> Sequence[Any]:
    """Return name and row-level security of each table of a service."""
    query = """
        SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class
        WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p') AND relname <> 'alembic_version'
    """
    return await fetch(database, service, "owner", query, service)


def kinds(service: str) -> dict[str, TableKind]:
    """Return what each model says of its table."""
    base = importlib.import_module(f"{service}.models").Base
    return {mapper.local_table.name: mapper.class_.__table_kind__ for mapper in base.registry.mappers}


@EVERY_SERVICE
class TestTables:
    async def test_each_has_a_kind(self, database: DatabaseSettings, service: str) -> None:
        declared = kinds(service).keys() | SHARED.tables.keys() | {name.partition(".")[2] for name in SHARED.tables}

        undeclared = {row["relname"] for row in await tables(database, service)} - declared

        assert undeclared == set()

    async def test_each_is_under_forced_row_security_unless_it_has_a_reason(
        self, database: DatabaseSettings, service: str
    ) -> None:
        bare = {
            f"{service}.{row['relname']}"
            for row in await tables(database, service)
            if not (row["relrowsecurity"] and row["relforcerowsecurity"])
        }
        globals_ = {f"{service}.{name}" for name, kind in kinds(service).items() if kind is TableKind.GLOBAL}

        assert bare <= globals_
        assert globals_ <= GLOBAL_TABLES.keys()

    async def test_the_organization_leads_each_primary_key(self, database: DatabaseSettings, service: str) -> None:
        query = """
            SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
            WHERE i.indisprimary AND c.relnamespace = $1::regnamespace
        """
        leading = {row["relname"]: row["attname"] for row in await fetch(database, service, "owner", query, service)}
        tenants = [name for name, kind in kinds(service).items() if kind is TableKind.TENANT]

        assert {name: leading[name] for name in tenants if leading[name] != "organization_id"} == {}

    async def test_models_and_migrations_agree(self, database: DatabaseSettings, service: str) -> None:
        metadata = migrations.models_metadata(service)

        def differences(connection: Connection) -> list[Any]:
            context = MigrationContext.configure(connection, opts=migrations.configuration(service, metadata))
            return list(compare_metadata(context, metadata))

        url = engine_url(database, role_name(service, "owner"), database.owner_password.get_secret_value())
        engine = create_async_engine(url)
        try:
            async with engine.connect() as connection:
                assert await connection.run_sync(differences) == []
        finally:
            await engine.dispose()


@EVERY_SERVICE
class TestRoles:
    async def test_none_can_pass_row_security(self, database: DatabaseSettings, service: str) -> None:
        names = [role_name(service, role) for role in ("owner", "app", "machinery")]
        query = "SELECT rolname FROM pg_roles WHERE rolname = ANY($1) AND (rolsuper OR rolbypassrls OR rolcreaterole)"

        assert await fetch(database, service, "owner", query, names) == []

    async def test_none_reads_another_service(self, database: DatabaseSettings, service: str) -> None:
        other = next(name for name in SERVICES if name != service)

        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await fetch(database, service, "app", f"SELECT 1 FROM {other}.outbox")

    async def test_the_serving_role_changes_no_table(self, database: DatabaseSettings, service: str) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await fetch(database, service, "app", f"ALTER TABLE {service}.outbox DISABLE ROW LEVEL SECURITY")


class TestAMutantWithoutScope:
    """A query that forgot its organization still sees no foreign row: the second wall holds alone."""

    @EVERY_SERVICE
    async def test_sees_nothing_without_a_tenant_and_nothing_foreign_with_one(
        self, database: DatabaseSettings, service: str
    ) -> None:
        for name, kind in kinds(service).items():
            if kind is TableKind.TENANT:
                assert await fetch(database, service, "app", f"SELECT 1 FROM {service}.{name} LIMIT 1") == []

    async def test_sees_only_its_own_among_the_rows_of_two(self, database: DatabaseSettings) -> None:
        mine, theirs = new_id(), new_id()
        for organization in (mine, theirs):
            await insert_conversation(database, organization)

        seen = await as_tenant(database, mine, "SELECT organization_id FROM conversation.conversations")
        update = "UPDATE conversation.conversations SET title = 'x' RETURNING organization_id"
        changed = await as_tenant(database, mine, update)
        deleted = await as_tenant(database, mine, "DELETE FROM conversation.conversations RETURNING organization_id")

        assert {row["organization_id"] for row in (*seen, *changed, *deleted)} == {mine}
        assert len(await as_tenant(database, theirs, "SELECT 1 FROM conversation.conversations")) == 1

    async def test_cannot_write_a_foreign_row(self, database: DatabaseSettings) -> None:
        mine, theirs = new_id(), new_id()

        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await insert_conversation(database, theirs, tenant=mine)


async def as_tenant(database: DatabaseSettings, organization: UUID, statement: str, *arguments: Any) -> list[Any]:
    """Run a statement as conversation's serving role in a transaction of one organization."""
    connection = await asyncpg.connect(
        host=database.host,
        port=database.port,
        database=database.name,
        user=role_name("conversation", "app"),
        password=database.app_password.get_secret_value(),
    )
    try:
        async with connection.transaction():
            await connection.execute("SELECT set_config('app.organization_id', $1, true)", str(organization))
            return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()


async def insert_conversation(database: DatabaseSettings, organization: UUID, *, tenant: UUID | None = None) -> None:
    """Insert a conversation of an organization, in a transaction of that one unless another tenant is given."""
    statement = """
        INSERT INTO conversation.conversations (organization_id, id, owner_id, end_user, title, model, archived,
            message_count, last_message_time, create_time, update_time, revision)
        VALUES ($1, $2, $2, '', '', 'offline', false, 0, now(), now(), now(), 1)
    """
    await as_tenant(database, tenant or organization, statement, organization, new_id())


@EVERY_SERVICE
async def test_migrations_go_down_and_up_again(service: str) -> None:
    settings = Named(service, database_settings())
    await migrations.bootstrap(settings)
    await migrations.run(settings)
    await migrations.run(settings, target="base")
    left = await tables(settings.database, service)
    await migrations.run(settings)

    assert left == []
