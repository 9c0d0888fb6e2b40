"""Fresh, migrated databases: migrated once a service and session, copied from then on."""

from __future__ import annotations

import asyncio

import asyncpg

from chassis.data import migrations
from chassis.data.migrations import NamedSettings
from chassis.testing.servers import SERVERS

_COPY_ATTEMPTS = 50

_templates: dict[tuple[str, int], str] = {}
_making = asyncio.Lock()


async def make_database(settings: NamedSettings) -> None:
    """Make the database that the settings name, with the service's roles, schema and newest revision.

    One that is there is left alone. The first one of a service goes through bootstrap and migrations and stays as the
    template of the others.
    """
    key = (settings.name, settings.database.port)
    async with _making:
        if settings.database.port != SERVERS.postgres.port:
            await _migrate(settings)
            return
        if key not in _templates:
            template = f"template_{settings.name}_{id(settings):x}"
            await _migrate(_Renamed(settings, template))
            _templates[key] = template
        await _copy(_templates[key], settings.database.name)


async def _migrate(settings: NamedSettings) -> None:
    await migrations.bootstrap(settings)
    await migrations.run(settings)


class _Renamed:
    """The settings, with another database."""

    def __init__(self, settings: NamedSettings, database: str) -> None:
        self.name = settings.name
        self.database = settings.database.model_copy(update={"name": database})


async def _copy(template: str, name: str) -> None:
    connection = await asyncpg.connect(SERVERS.postgres.address.url())
    try:
        for attempt in range(_COPY_ATTEMPTS):
            try:
                await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
                return
            except asyncpg.DuplicateDatabaseError:
                # Replicas of one service share a database: the first of them made it.
                return
            except asyncpg.ObjectInUseError:
                # The server lets go of closed connections a moment after their clients did.
                if attempt == _COPY_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.05)
    finally:
        await connection.close()
