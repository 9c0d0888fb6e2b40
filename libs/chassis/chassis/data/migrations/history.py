"""Running the history of a service's schema: from its own package, in its own schema, as its owner role."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

from alembic import context as alembic_context
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from chassis.data.database import engine_url, role_name
from chassis.data.migrations.bootstrap import NamedSettings
from chassis.data.tables import SHARED

LOCK_TIMEOUT_MS = 5_000
STATEMENT_TIMEOUT_MS = 300_000


async def run(
    settings: NamedSettings,
    metadata: MetaData | None = None,
    versions_package: str | None = None,
    target: str = "head",
) -> None:
    """Bring the schema of a service to a revision: `head`, a number, or `base`; back where it is an earlier one.

    Without `metadata` and `versions_package` they are `<name>.models.Base.metadata` and `<name>.migrations.versions`.
    Each migration is a transaction of its own; two processes that migrate at once take turns.
    """
    metadata = models_metadata(settings.name) if metadata is None else metadata
    history = script_directory(versions_package or f"{settings.name}.migrations.versions")
    database = settings.database
    engine = create_async_engine(
        engine_url(database, role_name(settings.name, "owner"), database.owner_password.get_secret_value()),
        poolclass=NullPool,
        connect_args={"server_settings": _owner_settings(settings.name)},
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate, history, settings.name, metadata, target)
    finally:
        await engine.dispose()


def models_metadata(service: str) -> MetaData:
    """Return the metadata of a service's models."""
    return cast("MetaData", importlib.import_module(f"{service}.models").Base.metadata)


def script_directory(versions_package: str) -> ScriptDirectory:
    """Return the history whose revisions are the modules of a package."""
    package = importlib.import_module(versions_package)
    folder = Path(next(iter(package.__path__)))
    return ScriptDirectory(str(folder.parent), version_locations=[str(folder)])


def environment(metadata: MetaData) -> None:
    """Serve as the `env.py` of a service, for alembic's own command line; needs an open `connection` attribute."""
    connection = alembic_context.config.attributes["connection"]
    alembic_context.configure(connection=connection, **configuration(metadata.schema or "", metadata))
    with alembic_context.begin_transaction():
        alembic_context.run_migrations()


def configuration(schema: str, metadata: MetaData) -> dict[str, Any]:  # Any: options of alembic's configure
    """Return how alembic looks at a service: its schema only, without the shared tables."""

    def is_ours(name: str | None, kind: str, parents: Any) -> bool:  # Any: alembic's mapping of parent names
        if kind == "schema":
            return name == schema
        return not (kind == "table" and name in {*SHARED.tables, "alembic_version"})

    return {
        "target_metadata": metadata,
        "version_table_schema": schema,
        "include_schemas": True,
        "include_name": is_ours,
        "compare_type": True,
        "transaction_per_migration": True,
    }


def _migrate(connection: Connection, history: ScriptDirectory, schema: str, metadata: MetaData, target: str) -> None:
    connection.execute(text("SELECT pg_advisory_lock(hashtext(:schema))"), {"schema": f"migrate:{schema}"})
    connection.commit()

    def steps(current: Any, _: MigrationContext) -> list[RevisionStep]:  # Any: alembic's tuple of heads
        if _is_earlier(history, target, current):
            return list(history._downgrade_revs(target, current))
        return list(history._upgrade_revs(target, current))

    with EnvironmentContext(Config(), history, fn=steps, destination_rev=target) as environment_context:
        environment_context.configure(connection=connection, **configuration(schema, metadata))
        with environment_context.begin_transaction():
            environment_context.run_migrations()
    connection.commit()


def _is_earlier(history: ScriptDirectory, target: str, current: tuple[str, ...]) -> bool:
    if target == "base":
        return True
    if target == "head" or not current:
        return False
    ancestors = {script.revision for script in history.iterate_revisions(current, "base")}
    return target in ancestors and target not in current


def _owner_settings(schema: str) -> dict[str, str]:
    return {
        "search_path": f"{schema},public",
        "application_name": f"{schema}:migrations",
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
        "timezone": "UTC",
    }


def head_revision(versions_package: str) -> str | None:
    """Return the newest revision of a history."""
    return script_directory(versions_package).get_current_head()


def current_revision(connection: Connection, schema: str) -> str | None:
    """Return the revision that a schema is at, None before its first migration."""
    return MigrationContext.configure(connection, opts={"version_table_schema": schema}).get_current_revision()
