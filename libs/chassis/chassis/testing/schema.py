"""What a service's test asks of its tables: who may see them, and that models and migrations agree.

async def test_every_table_is_protected(kb: InProcessService) -> None:
assert await table_problems(kb.database, Base.metadata) == []

async def test_models_are_what_migrations_make(kb: InProcessService) -> None:
assert await migration_differences(kb.database, Base.metadata) == []
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase

from chassis.data import migrations
from chassis.data.database import Database, TableKind, engine_url, role_name
from chassis.data.tables import SHARED

_SETTING = {TableKind.TENANT: "app.organization_id", TableKind.USER: "app.user_id"}
_TABLES = text(
    "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS is_forced, "
    "coalesce((SELECT string_agg(coalesce(pg_get_expr(p.polqual, p.polrelid), 'none') || ' / ' || "
    "coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'none'), ' ; ') FROM pg_policy p "
    "WHERE p.polrelid = c.oid "
    "AND (SELECT oid FROM pg_roles WHERE rolname = :app) = ANY (p.polroles)), '') AS app_policies "
    "FROM pg_class c WHERE c.relnamespace = to_regnamespace(:schema) AND c.relkind IN ('r', 'p')"
)


async def table_problems(database: Database, metadata: MetaData) -> Sequence[str]:
    """Return what is wrong with who may see the tables of a service, nothing when all is well.

    `metadata` is that of the declarative base of its models.
    """
    async with database.machinery.connect() as connection:
        parameters = {"schema": database.schema, "app": role_name(database.service, "app")}
        rows = {row.relname: row for row in await connection.execute(_TABLES, parameters)}
    models = {mapper.local_table.name: mapper.class_ for mapper in _mappers(metadata)}
    problems = [problem for name, row in rows.items() for problem in _of_table(name, row, models.get(name), metadata)]
    return [*problems, *(f"{name}: is in the models but not in the database" for name in models if name not in rows)]


async def migration_differences(database: Database, metadata: MetaData) -> Sequence[Any]:
    """Return how the database that the migrations made differs from the models, as alembic tells it."""
    # Any: alembic's operations, tuples of many shapes.
    settings = database.settings
    password = settings.owner_password.get_secret_value()
    engine = create_async_engine(engine_url(settings, role_name(database.service, "owner"), password))

    def compare(connection: Connection) -> Sequence[Any]:
        options = migrations.configuration(database.schema, metadata)
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    try:
        async with engine.connect() as connection:
            return await connection.run_sync(compare)
    finally:
        await engine.dispose()


def _mappers(metadata: MetaData) -> Iterator[Any]:
    for base in DeclarativeBase.__subclasses__():
        if base.metadata is metadata:
            yield from base.registry.mappers


def _of_table(name: str, row: Any, model: Any, metadata: MetaData) -> Iterator[str]:
    if name in SHARED.tables:
        if not row.is_forced:
            yield f"{name}: row-level security is not forced"
        return
    if name == "alembic_version":
        return
    kind = getattr(model, "__table_kind__", None)
    if kind is None:
        yield f"{name}: no model says which kind of table it is"
    elif kind is TableKind.GLOBAL:
        if not getattr(model, "__global_reason__", ""):
            yield f"{name}: is GLOBAL without a reason"
    else:
        yield from _of_protected(name, row, kind, metadata.tables[f"{metadata.schema}.{name}"])


def _of_protected(name: str, row: Any, kind: TableKind, table: Table) -> Iterator[str]:
    if not row.is_forced:
        yield f"{name}: row-level security is not forced"
    if _SETTING[kind] not in row.app_policies:
        yield f"{name}: no policy of the app role compares with {_SETTING[kind]}"
    if kind is TableKind.TENANT:
        yield from (f"{name}: organization_id does not lead {what}" for what in _not_led(table))


def _not_led(table: Table) -> Iterator[str]:
    if [column.name for column in table.primary_key.columns][:1] != ["organization_id"]:
        yield "its primary key"
    for index in table.indexes:
        first = next(iter(index.expressions), None)
        if getattr(first, "name", None) != "organization_id" and not index.dialect_options["postgresql"]["using"]:
            yield f"index {index.name}"
    for key in table.foreign_key_constraints:
        if key.column_keys[:1] != ["organization_id"]:
            yield f"foreign key {key.name}"
