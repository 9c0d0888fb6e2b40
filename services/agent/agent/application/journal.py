"""Journals of the runs of this process: one writer appends the events of all of them, a statement a tick."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from agent.domain.ports import JournalEvent, Tail
from agent.repositories import Claim
from agent.unit_of_work import AgentUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import FleetError

log = structlog.get_logger(__name__)

TICK = timedelta(milliseconds=30)
# Deltas that wait for the same tick become one event until it has so many bytes; then the tick comes at once.
COALESCED_BYTES = 512
_PAUSE_AFTER_FAILURE = timedelta(milliseconds=500)


class LeaseLost(Exception):
    """Another worker has the run, or may have it: nothing more may be written."""


@dataclass(eq=False)
class RunJournal:
    """The end of one run's journal, held by the worker that has its lease. Sequence numbers are given here."""

    claim: Claim
    writer: "JournalWriter"
    last_seq: int
    _pending: list[JournalEvent] = field(default_factory=list)
    _flying: list[JournalEvent] = field(default_factory=list)
    _landed: asyncio.Event = field(default_factory=asyncio.Event)
    _is_lost: bool = False
    _is_claimed: bool = False

    def append(self, type: str, data: Mapping[str, Any]) -> None:
        """Add an event; it is written within a tick, or by whoever takes it before."""
        self.last_seq += 1
        self._pending.append(JournalEvent(seq=self.last_seq, type=type, data=data, time=datetime.now(UTC)))
        self.writer.expect(self, urgent=False)

    def append_delta(self, type: str, place: Mapping[str, Any], text: str) -> None:
        """Add a piece of text, joined with the one before when both wait for the same tick."""
        last = self._pending[-1] if self._pending else None
        if last is None or not _joins(last, type, place):
            self.append(type, {**place, "text": text})
            return
        joined = last.data["text"] + text
        self._pending[-1] = replace(last, data={**last.data, "text": joined})
        self.writer.expect(self, urgent=len(joined.encode()) >= COALESCED_BYTES)

    async def take(self) -> list[JournalEvent]:
        """Take the events that are not written yet, to write them with something else.

        Raises LeaseLost.
        """
        # From here on the writer leaves the events alone: they must not be seen before what they are taken for.
        self._is_claimed = True
        while self._flying and not self._is_lost:
            await self._landed.wait()
        self._is_claimed = False
        self.check()
        taken, self._pending = self._pending, []
        return taken

    def check(self) -> None:
        """Raise LeaseLost after the journal was fenced."""
        if self._is_lost:
            raise LeaseLost

    def fence(self) -> None:
        """Refuse everything from now on: the lease is lost."""
        self._is_lost = True
        self._pending, self._flying = [], []
        self._landed.set()

    def take_off(self) -> list[JournalEvent]:
        """Hand the pending events to the writer, which says how it ended: landed, failed or fenced."""
        if self._is_claimed:
            return []
        self._flying, self._pending = self._pending, []
        if self._flying:
            self._landed.clear()
        return self._flying

    def land(self) -> None:
        self._flying = []
        self._landed.set()

    def fail(self) -> None:
        """Take the events of a failed write back, in front of those that came since."""
        self._pending = self._flying + self._pending
        self.land()


def _joins(last: JournalEvent, type: str, place: Mapping[str, Any]) -> bool:
    return (
        last.type == type
        and all(last.data.get(name) == value for name, value in place.items())
        and len(last.data["text"].encode()) < COALESCED_BYTES
    )


class JournalWriter:
    """Writes what journals expect it to: the first event at once, then everything that came within a tick together."""

    def __init__(self, acquire: Acquire[AgentUnitOfWork], tail: Tail, *, tick: timedelta = TICK) -> None:
        self._acquire = acquire
        self._tail = tail
        self._tick_seconds = tick.total_seconds()
        self._expecting: dict[RunJournal, None] = {}
        self._due = asyncio.Event()
        self._urgent = asyncio.Event()
        self._last_write = 0.0

    def open(self, claim: Claim, *, last_seq: int) -> RunJournal:
        """Open the journal of a claimed run after its last recorded event."""
        return RunJournal(claim, self, last_seq)

    def expect(self, journal: RunJournal, *, urgent: bool) -> None:
        """Have a journal's events written with the next tick, or now."""
        self._expecting[journal] = None
        self._due.set()
        if urgent:
            self._urgent.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._due.wait()
            await self._await_tick()
            await self._write_expected()

    async def _await_tick(self) -> None:
        remaining = self._last_write + self._tick_seconds - time.monotonic()
        if remaining > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), remaining)

    async def _write_expected(self) -> None:
        journals, self._expecting = list(self._expecting), {}
        self._due.clear()
        self._urgent.clear()
        flights = [(journal, events) for journal in journals if (events := journal.take_off())]
        self._last_write = time.monotonic()
        if not flights:
            return
        try:
            written = await self._append(flights)
        except (SQLAlchemyError, OSError, FleetError):
            log.warning("journal.write_failed", runs=len(flights), exc_info=True)
            await self._retry_later(flights)
        else:
            await self._settle(flights, written)

    async def _append(self, flights: Sequence[tuple[RunJournal, list[JournalEvent]]]) -> set[UUID]:
        async with self._acquire.machinery() as work:
            batch = [(journal.claim, event) for journal, events in flights for event in events]
            return await work.journal_table.append(batch)

    async def _retry_later(self, flights: Sequence[tuple[RunJournal, list[JournalEvent]]]) -> None:
        for journal, _ in flights:
            journal.fail()
        await asyncio.sleep(_PAUSE_AFTER_FAILURE.total_seconds())
        for journal, _ in flights:
            self.expect(journal, urgent=False)

    async def _settle(self, flights: Sequence[tuple[RunJournal, list[JournalEvent]]], written: set[UUID]) -> None:
        for journal, events in flights:
            if journal.claim.run_id in written:
                journal.land()
                await self._tail.announce(journal.claim.run_id, events)
            else:
                journal.fence()
