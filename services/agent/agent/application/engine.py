"""The built-in engine of runs: workers in every process that lease runs from Postgres."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import structlog
from sqlalchemy.exc import SQLAlchemyError

from agent.application.claimed_run import ClaimedRun, Interruption
from agent.application.journal import JournalWriter, LeaseLost
from agent.application.recording import Recorder
from agent.application.run_loop import RunLoop
from agent.domain.ports import Tail
from agent.repositories import Claim
from agent.unit_of_work import AgentUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import FleetError

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=15)
HEARTBEAT = timedelta(seconds=5)
# A message is only a hint, so the table is asked this often: it bounds how late a cancellation can be.
POLL = timedelta(milliseconds=500)
# How long a worker that is told to stop lets its runs reach the end of a step.
DRAIN = timedelta(seconds=3)

_DATABASE_AWAY = (SQLAlchemyError, OSError, FleetError)


class PostgresRunEngine:
    """Claims runs, drives up to `capacity` of them at a time, and keeps their leases. A Background of the service."""

    def __init__(
        self,
        acquire: Acquire[AgentUnitOfWork],
        *,
        recorder: Recorder,
        journals: JournalWriter,
        loop: RunLoop,
        tail: Tail,
        capacity: int,
        lease: timedelta = LEASE,
        heartbeat: timedelta = HEARTBEAT,
    ) -> None:
        self._acquire = acquire
        self._recorder = recorder
        self._journals = journals
        self._loop = loop
        self._tail = tail
        self._capacity = capacity
        self._lease = lease
        self._heartbeat_seconds = heartbeat.total_seconds()
        self._worker = uuid4().hex
        self._bell = asyncio.Event()
        self._claims: dict[UUID, Claim] = {}
        self._runs: dict[UUID, ClaimedRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._held_until = 0.0

    async def wake(self) -> None:
        """Look for work now, here and in the other processes."""
        self._bell.set()
        await self._tail.wake()

    def ring(self) -> None:
        """Look for work now: another process said so."""
        self._bell.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; then finish or hand back what is held."""
        writer = asyncio.create_task(self._journals.run())
        loops = [asyncio.create_task(self._repeat(self._look_for_work)), asyncio.create_task(self._repeat(self._beat))]
        try:
            await stop.wait()
        finally:
            await _end(loops[:1])
            try:
                await self._let_finish()
            finally:  # also when the process has no patience left
                await self._hand_back()
                await _end([*loops[1:], writer])

    async def _repeat(self, turn: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await turn()
            except _DATABASE_AWAY:
                log.warning("engine.database_away", turn=getattr(turn, "__name__", ""), exc_info=True)
                await asyncio.sleep(1)

    # -- claiming ---------------------------------------------------------------------------------------------------

    async def _look_for_work(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._bell.wait(), POLL.total_seconds())
        self._bell.clear()
        await self._interrupt_cancelled()
        await self._claim()

    async def _claim(self) -> None:
        free = self._capacity - len(self._claims)
        if free <= 0:
            return
        async with self._acquire.machinery() as work:
            claims = await work.lease_board.claim(worker=self._worker, lease=self._lease, limit=free)
        for claim in claims:
            self._take(claim)

    def _take(self, claim: Claim) -> None:
        self._claims[claim.run_id] = claim
        task = asyncio.create_task(self._drive(claim))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drive(self, claim: Claim) -> None:
        try:
            run = await self._recorder.load(claim)
            self._runs[claim.run_id] = run
            if claim.cancel_requested:
                run.interrupter.interrupt(Interruption.CANCEL)
            await self._loop.drive(run)
        except LeaseLost:
            log.info("run.lease_lost", run_id=str(claim.run_id), epoch=claim.epoch)
        except Exception:  # one run's fault must not end the others'
            log.exception("run.abandoned", run_id=str(claim.run_id))
        finally:
            if self._claims.get(claim.run_id) is claim:
                del self._claims[claim.run_id]
                self._runs.pop(claim.run_id, None)
            self._bell.set()

    # -- keeping ----------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        await asyncio.sleep(self._heartbeat_seconds)
        if not self._claims:
            self._held_until = 0.0
            return
        try:
            await self._extend()
        except _DATABASE_AWAY:
            if time.monotonic() > self._held_until > 0:
                self._lose(list(self._claims.values()))
            raise

    async def _extend(self) -> None:
        claims = list(self._claims.values())
        asked = time.monotonic()
        async with self._acquire.machinery() as work:
            held = await work.lease_board.extend(claims, lease=self._lease)
        self._held_until = asked + self._lease.total_seconds()
        self._lose([claim for claim in claims if claim.run_id not in held and claim.run_id in self._runs])

    def _lose(self, claims: list[Claim]) -> None:
        for claim in claims:
            if (run := self._runs.get(claim.run_id)) and run.claim is claim:
                run.journal.fence()
                run.interrupter.interrupt(Interruption.LEASE_LOST)

    async def _interrupt_cancelled(self) -> None:
        if not self._runs:
            return
        async with self._acquire.machinery() as work:
            cancelled = await work.lease_board.cancelled(worker=self._worker)
        for run_id in cancelled & self._runs.keys():
            self._runs[run_id].interrupter.interrupt(Interruption.CANCEL)

    # -- stopping ---------------------------------------------------------------------------------------------------

    async def _let_finish(self) -> None:
        """Let runs reach the end of a step."""
        for run in list(self._runs.values()):
            run.interrupter.hand_back()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN.total_seconds())

    async def _hand_back(self) -> None:
        """Interrupt what is left, and let other workers claim it at once."""
        held = list(self._claims.values())
        for run in list(self._runs.values()):
            run.interrupter.interrupt(Interruption.HAND_BACK)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN.total_seconds())
        await _end(list(self._tasks))  # what still waits for a database that is away
        with suppress(*_DATABASE_AWAY):
            async with self._acquire.machinery() as work:
                await work.lease_board.hand_back(held)
            await self._tail.wake()


async def _end(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
