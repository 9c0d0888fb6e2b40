"""What only an administrator of the server may do for a service: its database, its roles, its schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import asyncpg

from chassis.data.database import role_name
from chassis.data.migrations.operations import quoted, role_of
from chassis.settings import DatabaseSettings

LOCK = 0x6465_6669_6E61
ROLES = ("owner", "app", "machinery")


class NamedSettings(Protocol):
    """What bootstrap and migrations need of a service's settings."""

    name: str
    database: DatabaseSettings


class AdminUrlMissing(RuntimeError):
    """`database.admin_url` is not set: making roles and schemas needs an administrator of the server."""


async def bootstrap(settings: NamedSettings, *, extensions: Sequence[str] = ("vector",)) -> None:
    """Make the database, the three roles and the schema of a service; run again, it changes nothing.

    Passwords are set to those of the settings. Extensions the server does not offer are left out.
    Raises AdminUrlMissing.
    """
    database = settings.database
    if database.admin_url is None:
        raise AdminUrlMissing(AdminUrlMissing.__doc__)
    admin_url = database.admin_url.get_secret_value()
    connection = await asyncpg.connect(admin_url)
    try:
        # One lock for all services: roles and databases are the server's, and two writers of one row fail.
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await _make_roles(connection, settings)
        await _make_database(connection, settings)
        await _make_schema(admin_url, settings, extensions)
    finally:
        await connection.close()


async def _make_roles(connection: asyncpg.Connection[asyncpg.Record], settings: NamedSettings) -> None:
    database = settings.database
    passwords = (database.owner_password, database.app_password, database.machinery_password)
    for role, password in zip(ROLES, passwords, strict=True):
        name = role_name(settings.name, role)
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
            await connection.execute(f"CREATE ROLE {quoted(name)}")
        literal = await connection.fetchval("SELECT quote_literal($1::text)", password.get_secret_value())
        await connection.execute(
            f"ALTER ROLE {quoted(name)} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD {literal}"
        )


async def _make_database(connection: asyncpg.Connection[asyncpg.Record], settings: NamedSettings) -> None:
    name = quoted(settings.database.name)
    if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", settings.database.name):
        await connection.execute(f"CREATE DATABASE {name}")
    await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    for role in ROLES:
        await connection.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {role_of(settings.name, role)}")


async def _make_schema(admin_url: str, settings: NamedSettings, extensions: Sequence[str]) -> None:
    schema, owner = quoted(settings.name), role_of(settings.name, "owner")
    connection = await asyncpg.connect(admin_url, database=settings.database.name)
    try:
        await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        for extension in extensions:
            if await connection.fetchval("SELECT 1 FROM pg_available_extensions WHERE name = $1", extension):
                await connection.execute(f"CREATE EXTENSION IF NOT EXISTS {quoted(extension)} SCHEMA public")
        # An administrator that is not superuser may only give away what it is a member of.
        await connection.execute(f"GRANT {owner} TO CURRENT_USER")
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner}")
        for role in ("app", "machinery"):
            await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role_of(settings.name, role)}")
        await connection.execute(f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    finally:
        await connection.close()
