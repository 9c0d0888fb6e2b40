"""When keys were last used: collected in memory, written together."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from auth.application.issuer import wait
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import DependencyUnavailable

FLUSH_INTERVAL = timedelta(seconds=5)
_MAX_BATCH = 10_000
_log = structlog.get_logger(__name__)


class KeyUsage:
    """Last uses that aren't written yet. A crash loses at most the last five seconds of them."""

    def __init__(self, acquire: Acquire[AuthUnitOfWork]) -> None:
        self._acquire = acquire
        self._used: dict[UUID, datetime] = {}

    def note(self, key_id: UUID, time: datetime) -> None:
        """Remember a use."""
        if len(self._used) < _MAX_BATCH or key_id in self._used:
            self._used[key_id] = time

    async def flush(self) -> None:
        """Write what was noted. What can't be written is kept for the next time."""
        if not self._used:
            return
        used, self._used = self._used, {}
        try:
            async with self._acquire.anonymous() as work:
                await work.lookups.touch_api_keys(dict(sorted(used.items())))
        except DependencyUnavailable:
            self._used = used | self._used
            _log.warning("key_usage_not_written", keys=len(used))

    async def run(self, stop: asyncio.Event) -> None:
        """Write every five seconds, and once more at the end."""
        while not stop.is_set():
            await wait(stop, FLUSH_INTERVAL)
            await self.flush()
