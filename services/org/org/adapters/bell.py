"""The bell: Postgres tells every replica when an organization's feed has grown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from chassis.data.database import Database
from chassis.messaging.background import Bell, Trouble, stopped_within
from org.repositories.feed import FEED_CHANNEL

_CHECK_SECONDS = 1.0  # how soon a connection that was lost is noticed


class PostgresBell:
    """Rings for listeners of this process when any process records an event. Also a background task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: dict[UUID, set[Bell]] = {}

    @asynccontextmanager
    async def listening(self, organization_id: UUID) -> AsyncIterator[Bell]:
        """Listen for one organization until the block ends."""
        ring = Bell()
        self._listeners.setdefault(organization_id, set()).add(ring)
        try:
            yield ring
        finally:
            listeners = self._listeners[organization_id]
            listeners.discard(ring)
            if not listeners:
                del self._listeners[organization_id]

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until stopped; a lost connection is made again, and watchers look by themselves meanwhile."""
        trouble = Trouble("feed.bell")
        while not stop.is_set():
            try:
                await self._listen(stop, trouble)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                trouble.failed(error)
                await stopped_within(stop, trouble.pause_seconds)

    async def _listen(self, stop: asyncio.Event, trouble: Trouble) -> None:
        async with self._database.listening() as connection:
            await connection.add_listener(FEED_CHANNEL, self._heard)
            trouble.worked()
            while not connection.is_closed() and not await stopped_within(stop, _CHECK_SECONDS):
                pass

    def _heard(self, connection: object, pid: int, channel: str, payload: object) -> None:
        for ring in self._listeners.get(UUID(str(payload)), ()):
            ring.ring()
