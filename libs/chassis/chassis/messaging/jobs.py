"""Jobs: work that outlives its call. Workers lease it, keep the lease alive, and try again when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from chassis import telemetry
from chassis.data.database import Database
from chassis.errors import (
    FailedPrecondition,
    FleetError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unimplemented,
)
from chassis.messaging import metrics
from chassis.messaging.background import Bell, Trouble, cancelled, ringing_at
from chassis.messaging.broker import BROKER_ERRORS, Broker
from chassis.messaging.events import subject_of
from chassis.messaging.job_store import JobRecord, JobStore
from chassis.messaging.outbox import Cause, causing
from chassis.messaging.running_job import Job, JobCancelled, JobFenced, JobPolicy, RunningJob
from definable.jobs.v1.events_pb2 import JobQueued

POLL_SECONDS = 1.0
CANCEL_GRACE_SECONDS = 5.0
HOPELESS = (InvalidArgument, FailedPrecondition, NotFound, PermissionDenied, Unimplemented)
"""Errors that another attempt would only repeat."""

__all__ = ["Job", "JobCancelled", "JobFenced", "JobPolicy", "JobWorkers", "RunningJob"]

log = telemetry.get_logger(__name__)


class JobWorkers:
    """Runs the kinds of jobs of a service, as many at a time as each allows. Any number of processes may."""

    def __init__(self, database: Database, broker: Broker, jobs: Sequence[Job]) -> None:
        self._store = JobStore(database)
        self._broker = broker
        self._database = database
        self._service = database.service
        self._kinds = [_Kind(job, self._store, service=database.service) for job in jobs]

    async def run(self, stop: asyncio.Event) -> None:
        """Work until stopped; then hand unfinished jobs back to the queue."""
        bells = [kind.bell for kind in self._kinds]
        waking = asyncio.create_task(self._wake(bells))
        measuring = asyncio.create_task(metrics.measure(self._database))
        try:
            async with ringing_at(stop, *bells):
                await asyncio.gather(stop.wait(), *(kind.run(stop) for kind in self._kinds))
        finally:
            await cancelled(waking, measuring)

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

    def __init__(self, job: Job, store: JobStore, *, service: str) -> None:
        self._job = job
        self._service = service
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
            task = asyncio.create_task(_Attempt(self._job, record, self._store, service=self._service).run())
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.bell.ring()


class _Attempt:
    """One attempt of one job, beside the heartbeat that keeps its lease."""

    def __init__(self, job: Job, record: JobRecord, store: JobStore, *, service: str) -> None:
        self._job = job
        self._service = service
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
            await self._write("cancelled", lambda: self._store.cancel_running(self._record))
        elif error is None:
            await self._write("succeeded", lambda: self._store.succeed(self._record))
        else:
            await self._failed(error)

    async def _write(self, outcome: str, write: Callable[[], Awaitable[bool]]) -> None:
        """Write an outcome, in a short outage of the database several times: the work need not be done again."""
        deadline = asyncio.get_running_loop().time() + self._policy.lease.total_seconds()
        while True:
            try:
                await write()
                break
            except Unavailable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.5)
        metrics.attempts.labels(self._service, self._job.kind, outcome).inc()

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
        cause = Cause(self._record.request_id, traceparent=self._record.traceparent)
        with causing(cause, f"job {self._job.kind}", job_id=str(self._record.id)):
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
        reason, message = reason_of(error), message_of(error)
        await self._write(
            "retried", lambda: self._store.retry(self._record, after=delay, reason=reason, message=message)
        )

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
        await self._tell(error)
        reason, message = reason_of(error), message_of(error)
        await self._write("failed", lambda: self._store.fail(self._record, reason=reason, message=message))

    async def _tell(self, error: Exception) -> None:
        hook = getattr(self._job, "failed", None)
        if hook is None:
            return
        try:
            await hook(self._running, error)
        except Unavailable:
            raise  # the lease runs out, and the next attempt tells it
        except Exception as fault:  # noqa: BLE001 – a hook with a fault must not keep the job alive for ever
            self._log("job.failed_hook_failed", fault)

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


class Interrupted(FleetError):
    """Something that the job waited for was cancelled under it."""

    reason = "INTERRUPTED"


def _outcome(task: asyncio.Task[None]) -> Exception | None:
    if task.cancelled():
        return Interrupted()
    error = task.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error
