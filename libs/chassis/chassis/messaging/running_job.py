"""What a kind of job is, and what its code sees of the attempt it makes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Protocol
from uuid import UUID

from sqlalchemy import select

from chassis.data.tables import JOBS
from chassis.data.unit_of_work import UnitOfWork
from chassis.messaging.job_store import JobRecord, JobStore
from chassis.rpc.caller import Actor

ANNOUNCE_SECONDS = 0.5
"""At most one event of progress in this time."""


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
