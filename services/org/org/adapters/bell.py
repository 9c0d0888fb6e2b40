"""The bell: Postgres tells every replica when an organization's feed has grown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog

from chassis.data.database import Database
from org.repositories.feed import FEED_CHANNEL

log = structlog.get_logger(__name__)

_RETRY = timedelta(seconds=1)


class EventRing:
    """One listener's end of the bell."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the listener, now or when it next waits."""
        self._rung.set()

    async def wait(self, *, at_most: timedelta) -> None:
        """Return when the bell rang since the last call, or after `at_most`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), at_most.total_seconds())
        self._rung.clear()


class PostgresBell:
    """Rings for listeners of this process when any process records an event. Also a background task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: dict[UUID, set[EventRing]] = {}

    @asynccontextmanager
    async def listening(self, organization_id: UUID) -> AsyncIterator[EventRing]:
        """Listen for one organization until the block ends."""
        ring = EventRing()
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
        while not stop.is_set():
            try:
                await self._listen(stop)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("feed_bell_lost", error=type(error).__name__)
                await _wait(stop, _RETRY)

    async def _listen(self, stop: asyncio.Event) -> None:
        lost = asyncio.Event()
        async with self._database.listening() as connection:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(FEED_CHANNEL, self._heard)
            while not stop.is_set() and not lost.is_set():
                await _wait(stop, _RETRY)

    def _heard(self, connection: object, pid: int, channel: str, payload: object) -> None:
        for ring in self._listeners.get(UUID(str(payload)), ()):
            ring.ring()


async def _wait(stop: asyncio.Event, at_most: timedelta) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), at_most.total_seconds())
