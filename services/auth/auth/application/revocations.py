"""News of revocations: read once per process, given to everybody who watches."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta

import asyncpg
import structlog

from auth import models
from auth.application.issuer import wait
from auth.repositories import REVOCATION_CHANNEL
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.database import Database
from chassis.data.unit_of_work import Acquire
from chassis.errors import DependencyUnavailable

HEARTBEAT = timedelta(seconds=10)
POLL_INTERVAL = timedelta(milliseconds=500)  # the truth; NOTIFY only makes it sooner
BACKLOG = timedelta(minutes=2)  # longer than a context token lives
LISTEN_AGAIN_AFTER = timedelta(seconds=1)
_BATCH = 500
_KEPT = 5_000
_log = structlog.get_logger(__name__)


class RevocationFeed:
    """Follows the table of revocations. Sequences are committed in order, so a number says how far one has read."""

    def __init__(self, database: Database, acquire: Acquire[AuthUnitOfWork]) -> None:
        self._database = database
        self._acquire = acquire
        self._recent: deque[models.Revocation] = deque(maxlen=_KEPT)
        self._last: int | None = None
        self._woken = asyncio.Event()
        self._grown = asyncio.Condition()

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until told to stop; survive the loss of the database."""
        listening = asyncio.create_task(self._listen(stop))
        try:
            while not stop.is_set():
                try:
                    await self._read_on()
                except DependencyUnavailable:
                    _log.warning("revocations_not_read")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), POLL_INTERVAL.total_seconds())
                self._woken.clear()
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def watch(self, after_sequence: int) -> AsyncIterator[models.Revocation | int]:
        """Yield revocations after a sequence, then new ones as they come; a number is a heartbeat.

        With 0 those of the last two minutes come first. The number is the last sequence that was yielded. One comes at
        once, so that a reader knows the stream to be open.
        """
        position = after_sequence or await self._start_of_backlog()
        yield position
        while True:
            known = self._last or 0
            fresh = await self._after(position)
            for revocation in fresh:
                yield revocation
                position = revocation.sequence
            if fresh:
                continue
            position = max(position, known)  # what lies between was purged
            if not await self._grows_past(position):
                yield position

    async def _after(self, position: int) -> Sequence[models.Revocation]:
        recent = [revocation for revocation in self._recent if revocation.sequence > position]
        if self._recent and self._recent[0].sequence <= position + 1:
            return recent
        # Older than what this process keeps, or it keeps nothing yet: read the table.
        async with self._acquire.anonymous() as work:
            return await work.revocations.after(position, limit=_BATCH)

    async def _grows_past(self, position: int) -> bool:
        async with self._grown:
            try:
                # Not asyncio.wait_for: its inner task, cancelled twice, would wait for the lock for ever.
                async with asyncio.timeout(HEARTBEAT.total_seconds()):
                    await self._grown.wait_for(lambda: (self._last or 0) > position)
            except TimeoutError:
                return False
            return True

    async def _start_of_backlog(self) -> int:
        async with self._acquire.anonymous() as work:
            return await work.revocations.last_sequence_before(work.now() - BACKLOG)

    async def _read_on(self) -> None:
        if self._last is None:
            self._last = await self._start_of_backlog()
        while True:
            async with self._acquire.anonymous() as work:
                rows = await work.revocations.after(self._last, limit=_BATCH)
            if not rows:
                return
            self._recent.extend(rows)
            async with self._grown:
                self._last = rows[-1].sequence
                self._grown.notify_all()

    async def _listen(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._listen_until_lost()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await wait(stop, LISTEN_AGAIN_AFTER)

    async def _listen_until_lost(self) -> None:
        lost = asyncio.Event()
        async with self._database.listening() as connection:
            connection.add_termination_listener(lambda *_: lost.set())
            await connection.add_listener(REVOCATION_CHANNEL, lambda *_: self._woken.set())
            await lost.wait()
