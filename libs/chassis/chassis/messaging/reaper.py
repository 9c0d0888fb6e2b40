"""The reaper: deletes what its tables keep for a while only."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import Delete, delete, func

from chassis.data.database import Database, unavailable_as_error
from chassis.data.tables import DEAD_LETTERS, IDEMPOTENCY, INBOX, JOBS, OUTBOX
from chassis.messaging.background import Trouble, stopped_within

PERIOD_SECONDS = 300.0
EVENTS_KEPT = timedelta(days=7)
INBOX_KEPT = timedelta(days=8)
"""A day longer than streams keep messages: a delivery must not outlive the memory of its effect."""
JOBS_KEPT = timedelta(days=30)
DEAD_LETTERS_KEPT = timedelta(days=90)


class Reaper:
    """Deletes expired rows of the shared tables of one service, now and then. Any number may run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, stop: asyncio.Event) -> None:
        """Reap until stopped."""
        trouble = Trouble("reaper")
        while not stop.is_set():
            try:
                await self.reap()
                trouble.worked()
            except Exception as error:  # noqa: BLE001 – rows kept a little longer harm nobody
                trouble.failed(error)
            await stopped_within(stop, PERIOD_SECONDS)

    async def reap(self) -> dict[str, int]:
        """Delete what expired, and return how many rows of which table."""
        reaped: dict[str, int] = {}
        for table, statement in expired().items():
            async with unavailable_as_error(), self._database.machinery.begin() as connection:
                reaped[table] = int((await connection.execute(statement)).rowcount)
        return reaped


def expired() -> dict[str, Delete]:
    """Return, by table, what deletes its expired rows. Unsent events never expire."""
    now = func.now()
    return {
        "outbox": delete(OUTBOX).where(OUTBOX.c.sent_at < now - EVENTS_KEPT),
        "inbox": delete(INBOX).where(INBOX.c.receive_time < now - INBOX_KEPT),
        "jobs": delete(JOBS).where(JOBS.c.end_time < now - JOBS_KEPT),
        "idempotency": delete(IDEMPOTENCY).where(IDEMPOTENCY.c.expire_time < now),
        "dead_letters": delete(DEAD_LETTERS).where(DEAD_LETTERS.c.create_time < now - DEAD_LETTERS_KEPT),
    }
