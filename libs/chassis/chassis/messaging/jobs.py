"""Jobs: work that outlives its call. Workers lease it, keep the lease alive, and try again when it fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Protocol
from uuid import UUID

import structlog
from sqlalchemy import select

from chassis.data.database import Database
from chassis.data.tables import JOBS
from chassis.data.unit_of_work import UnitOfWork
from chassis.errors import (
    FailedPrecondition,
    FleetError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unimplemented,
)
from chassis.messaging.background import Bell, Trouble, cancelled, ringing_at
from chassis.messaging.broker import BROKER_ERRORS, Broker
from chassis.messaging.events import subject_of
from chassis.messaging.job_store import JobRecord, JobStore
from chassis.rpc.caller import Actor
from definable.jobs.v1.events_pb2 import JobQueued

POLL_SECONDS = 1.0
CANCEL_GRACE_SECONDS = 5.0
ANNOUNCE_SECONDS = 0.5
HOPELESS = (InvalidArgument, FailedPrecondition, NotFound, PermissionDenied, Unimplemented)
"""Errors that another attempt would only repeat."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobPolicy:
    """How a kind of job is run."""

    max_attempts: int = 5
    backoff: timedelta = timedelta(seconds=2)
    """Pause before the second attempt; it doubles each time, up to `max_backoff`, with a quarter of chance."""
    max_backoff: timedelta = timedelta(minutes=5)
    lease: timedelta = timedelta(seconds=30)
    """How long a worker may be silent before another takes the job."""
    concurrency: int = 1
    """Jobs of this kind at a time, in one process."""
    timeout: timedelta | None = None
    """How long one attempt may take."""
    patience: timedelta = timedelta(hours=24)
    """How long after its creation a job goes on waiting for a dependency that is down, whatever its attempts."""

    def delay(self, attempt: int) -> timedelta:
        """Return the pause after a failed attempt, counted from 1."""
        doubled: timedelta = self.backoff * 2 ** min(attempt - 1, 20)
        return min(doubled, self.max_backoff) * random.uniform(0.75, 1.25)


class JobCancelled(Exception):
    """The job was cancelled; raised inside it so that it ends where it can."""


class JobFenced(Exception):
    """Another worker has the job: whatever this one still does must not be written."""


class Job(Protocol):
    """A kind of work. It may run more than once, so its effects are idempotent.

    With a method `async failed(job: RunningJob, error: Exception)` it is told when it is given up.
    """

    kind: ClassVar[str]
    policy: ClassVar[JobPolicy]

    async def run(self, job: RunningJob) -> None:
        """Do the work. InvalidArgument, FailedPrecondition, NotFound and PermissionDenied end it, others try again."""
        ...


class RunningJob:
    """One attempt of a job, as its code sees it."""

    def __init__(self, record: JobRecord, store: JobStore) -> None:
        self._record = record
        self._store = store
        self._announced_at = 0.0
        self.is_cancelled = False
        self.is_lost = False

    @property
    def id(self) -> UUID:
        """Id of the job."""
        return self._record.id

    @property
    def organization_id(self) -> UUID:
        """Whose work it is."""
        if self._record.organization_id is None:
            raise LookupError("the job belongs to no organization")
        return self._record.organization_id

    @property
    def actor(self) -> Actor:
        """Who asked for it."""
        return self._record.actor

    @property
    def target(self) -> str:
        """Typed id of what it works on."""
        return self._record.target

    @property
    def payload(self) -> Mapping[str, Any]:  # Any: JSON
        """What it was enqueued with."""
        return self._record.payload

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._record.attempt

    @property
    def epoch(self) -> int:
        """Rises with each claim: what fences a worker that lost its lease."""
        return self._record.epoch

    @property
    def request_id(self) -> str:
        """Request that asked for it."""
        return self._record.request_id

    async def progress(self, done: int, total: int = 0, note: str = "") -> None:
        """Say how far it is; `total` 0 is unknown. At most two a second become events.

        Raises JobFenced when the job is another worker's by now, JobCancelled when it was cancelled.
        """
        now = asyncio.get_running_loop().time()
        announce = now - self._announced_at >= ANNOUNCE_SECONDS or 0 < total <= done
        record = await self._store.progress(self._record, done=done, total=total, note=note, announce=announce)
        if record is None:
            self.is_lost = True
            raise JobFenced
        if announce:
            self._announced_at = now
        self.is_cancelled = self.is_cancelled or record.cancel_requested
        self.raise_if_cancelled()

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled when somebody cancelled the job; known within a third of its lease."""
        if self.is_cancelled:
            raise JobCancelled

    async def fence(self, work: UnitOfWork) -> None:
        """Hold the job for the rest of a unit of work: nobody can take it over before the commit.

        Raises JobFenced when somebody has. First statement of a unit whose effect must not happen twice.
        """
        query = select(JOBS.c.id).where(JOBS.c.id == self.id, JOBS.c.epoch == self.epoch, JOBS.c.state == "RUNNING")
        if await work.session.scalar(query.with_for_update(read=True)) is None:
            self.is_lost = True
            raise JobFenced


class JobWorkers:
    """Runs the kinds of jobs of a service, as many at a time as each allows. Any number of processes may."""

    def __init__(self, database: Database, broker: Broker, jobs: Sequence[Job]) -> None:
        self._store = JobStore(database)
        self._broker = broker
        self._service = database.service
        self._kinds = [_Kind(job, self._store) for job in jobs]

    async def run(self, stop: asyncio.Event) -> None:
        """Work until stopped; then hand unfinished jobs back to the queue."""
        bells = [kind.bell for kind in self._kinds]
        waking = asyncio.create_task(self._wake(bells))
        try:
            async with ringing_at(stop, *bells):
                await asyncio.gather(*(kind.run(stop) for kind in self._kinds))
        finally:
            await cancelled(waking)

    async def _wake(self, bells: Sequence[Bell]) -> None:
        # The relay publishes JobQueued; hearing it on core NATS saves the rest of the poll's second.
        while self._broker.is_configured:
            try:
                client = await self._broker.connect()
                subscription = await client.subscribe(subject_of(JobQueued, service=self._service))
                async for _ in subscription.messages:
                    for bell in bells:
                        bell.ring()
            except BROKER_ERRORS:
                log.debug("jobs.bell_unavailable")
            await asyncio.sleep(POLL_SECONDS)


class _Kind:
    """The worker of one kind."""

    def __init__(self, job: Job, store: JobStore) -> None:
        self._job = job
        self._store = store
        self._running: set[asyncio.Task[None]] = set()
        self.bell = Bell()

    async def run(self, stop: asyncio.Event) -> None:
        trouble = Trouble(f"jobs.{self._job.kind}")
        while not stop.is_set():
            try:
                await self._claim()
                trouble.worked()
            except Exception as error:  # noqa: BLE001 – workers that stop for ever are worse than ones that log
                trouble.failed(error)
            await self.bell.wait(timeout=max(POLL_SECONDS, trouble.pause_seconds if trouble.is_on else 0))
        await cancelled(*self._running)

    async def _claim(self) -> None:
        policy = self._job.policy
        free = policy.concurrency - len(self._running)
        if free <= 0:
            return
        for record in await self._store.claim(self._job.kind, limit=free, lease=policy.lease):
            task = asyncio.create_task(_Attempt(self._job, record, self._store).run())
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.bell.ring()


class _Attempt:
    """One attempt of one job, beside the heartbeat that keeps its lease."""

    def __init__(self, job: Job, record: JobRecord, store: JobStore) -> None:
        self._job = job
        self._policy = job.policy
        self._record = record
        self._store = store
        self._running = RunningJob(record, store)

    async def run(self) -> None:
        """Run the job and write its outcome; never raises but when cancelled, and hands the job back then."""
        try:
            await self._run()
        except asyncio.CancelledError:
            await asyncio.shield(self._hand_back())
            raise
        except Exception as error:  # noqa: BLE001 – the outcome is unwritten: the lease runs out, another attempt is made
            self._log("job.outcome_unwritten", error)

    async def _run(self) -> None:
        if self._was_lost():
            await self._give_up(WorkerLost())
            return
        error = await self._attempt()
        if self._running.is_lost or isinstance(error, JobFenced):
            self._log("job.fenced", None)
        elif isinstance(error, JobCancelled) or (error is not None and self._running.is_cancelled):
            await self._store.cancel_running(self._record)
        elif error is None:
            await self._store.succeed(self._record)
        else:
            await self._failed(error)

    async def _attempt(self) -> Exception | None:
        working = asyncio.create_task(self._work())
        beating = asyncio.create_task(self._beat(working))
        try:
            await asyncio.wait({working})
            return _outcome(working)
        finally:
            await cancelled(working, beating)

    async def _work(self) -> None:
        limit = self._policy.timeout.total_seconds() if self._policy.timeout else None
        async with asyncio.timeout(limit):
            await self._job.run(self._running)

    async def _beat(self, working: asyncio.Task[None]) -> None:
        while True:
            await asyncio.sleep(min(self._policy.lease.total_seconds() / 3, 5.0))
            try:
                beat = await self._store.heartbeat(self._record, lease=self._policy.lease)
            except Exception as error:  # noqa: BLE001 – the database is away; the lease decides whether the job is still ours
                self._log("job.heartbeat_failed", error)
                continue
            if not beat.is_ours:
                self._running.is_lost = True
                working.cancel()
            elif beat.is_cancel_requested and not self._running.is_cancelled:
                self._running.is_cancelled = True
                asyncio.get_running_loop().call_later(CANCEL_GRACE_SECONDS, working.cancel)

    async def _failed(self, error: Exception) -> None:
        self._log("job.attempt_failed", error)
        if isinstance(error, HOPELESS) or self._is_exhausted(error):
            await self._give_up(error)
            return
        delay = self._policy.delay(self._record.attempt)
        if isinstance(error, FleetError) and error.retry_after is not None:
            delay = max(delay, error.retry_after)
        await self._store.retry(self._record, after=delay, reason=reason_of(error), message=message_of(error))

    def _is_exhausted(self, error: Exception) -> bool:
        # Waiting for a dependency uses up attempts without anything being wrong with the job: its age decides then.
        if isinstance(error, Unavailable):
            return self._is_old()
        return self._record.attempt >= self._policy.max_attempts

    def _was_lost(self) -> bool:
        waited_for_outage = self._record.error_reason == Unavailable.reason
        is_over = self._record.attempt > self._policy.max_attempts
        return is_over and (self._is_old() or not waited_for_outage)

    def _is_old(self) -> bool:
        return datetime.now(UTC) - self._record.create_time > self._policy.patience

    async def _give_up(self, error: Exception) -> None:
        hook = getattr(self._job, "failed", None)
        if hook is not None:
            await hook(self._running, error)
        await self._store.fail(self._record, reason=reason_of(error), message=message_of(error))

    async def _hand_back(self) -> None:
        try:
            await self._store.hand_back(self._record)
        except Exception as error:  # noqa: BLE001 – the lease runs out instead
            self._log("job.hand_back_failed", error)

    def _log(self, what: str, error: Exception | None) -> None:
        log.info(
            what,
            kind=self._record.kind,
            job_id=str(self._record.id),
            attempt=self._record.attempt,
            error=type(error).__name__ if error else None,
            detail=str(error)[:200] if error else None,
        )


class WorkerLost(FleetError):
    """The workers that ran the job ended without an outcome, as often as it may be tried."""

    reason = "WORKER_LOST"


def reason_of(error: Exception) -> str:
    """Return the reason of an error, as clients compare it."""
    if isinstance(error, TimeoutError):
        return "DEADLINE_EXCEEDED"
    return error.reason if isinstance(error, FleetError) else "INTERNAL"


def message_of(error: Exception) -> str:
    """Return what a client may read of an error: nothing of one that was not made for clients."""
    return error.message if isinstance(error, FleetError) else ""


def _outcome(task: asyncio.Task[None]) -> Exception | None:
    if task.cancelled():
        return JobCancelled()
    error = task.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error
