"""The SQL of jobs: claims with a lease, an epoch that fences, and the transitions between states.

    QUEUED ──claim──▶ RUNNING ──finish──▶ SUCCEEDED | FAILED | CANCELLED
       ▲                 │ retry, hand back, or a lease that ran out
       └─────────────────┘

Each claim raises the epoch. Whatever a worker writes names its epoch, so that one whose lease was taken over changes
nothing any more. All times are the database's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Update, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.data.database import Database, unavailable_as_error
from chassis.data.tables import JOBS
from chassis.ids import job_id as id_kind
from chassis.messaging import outbox
from chassis.messaging.job_queue import actor_from_json
from chassis.messaging.outbox import Origin, Outbox
from chassis.rpc.caller import Actor
from chassis.rpc.times import timestamp
from definable.jobs.v1.events_pb2 import JobFinished, JobProgressed
from definable.jobs.v1.job_service_pb2 import Job, JobState

MAX_ERROR_CHARACTERS = 500
C = JOBS.c


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as its row was when it was read."""

    id: UUID
    organization_id: UUID | None
    kind: str
    target: str
    payload: Mapping[str, Any]  # Any: JSON
    state: str
    actor: Actor
    request_id: str
    traceparent: str
    attempt: int
    epoch: int
    cancel_requested: bool
    progress_done: int
    progress_total: int
    progress_note: str
    error_reason: str
    error_message: str
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None

    @classmethod
    def of(cls, row: Any) -> JobRecord:  # Any: a row of SQLAlchemy, whose columns are not typed
        """Return a row as a record."""
        fields = {name: getattr(row, name) for name in cls.__slots__ if name != "actor"}
        return cls(**fields, actor=actor_from_json(row.actor))

    def show(self, service: str) -> str:
        """Return the id as clients see it."""
        return id_kind(service).show(self.id)

    def to_message(self, service: str) -> Job:
        """Return the job as clients see it."""
        return Job(
            id=self.show(service),
            kind=self.kind,
            state=job_state(self.state),
            target=self.target,
            attempt=self.attempt,
            progress_done=self.progress_done,
            progress_total=self.progress_total,
            progress_note=self.progress_note,
            error_reason=self.error_reason,
            error_message=self.error_message,
            create_time=timestamp(self.create_time),
            start_time=timestamp(self.start_time),
            end_time=timestamp(self.end_time),
        )

    def progressed(self, service: str) -> JobProgressed:
        """Return the event that tells how far the job is."""
        return JobProgressed(
            job_id=self.show(service),
            kind=self.kind,
            target=self.target,
            state=job_state(self.state),
            attempt=self.attempt,
            progress_done=self.progress_done,
            progress_total=self.progress_total,
            progress_note=self.progress_note,
            create_time=timestamp(self.create_time),
            start_time=timestamp(self.start_time),
        )

    def finished(self, service: str) -> JobFinished:
        """Return the event that tells how the job ended."""
        return JobFinished(
            job_id=self.show(service),
            kind=self.kind,
            target=self.target,
            state=job_state(self.state),
            attempt=self.attempt,
            error_reason=self.error_reason,
            create_time=timestamp(self.create_time),
            start_time=timestamp(self.start_time),
            end_time=timestamp(self.end_time),
        )


def job_state(state: str) -> JobState.ValueType:
    """Return the state of a row as an enum value."""
    return JobState.Value(f"JOB_STATE_{state}")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker learns when it renews its lease."""

    is_ours: bool
    is_cancel_requested: bool = False


class JobStore:
    """The jobs of one service, for its workers; machinery role, so across organizations."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._service = database.service

    async def claim(self, kind: str, *, limit: int, lease: timedelta) -> Sequence[JobRecord]:
        """Lease up to `limit` jobs that are due, or whose worker let its lease run out; oldest first."""
        due = or_(
            and_(C.state == "QUEUED", C.run_after <= func.now()), and_(C.state == "RUNNING", C.lease_until < func.now())
        )
        candidates = select(C.id).where(C.kind == kind, due).order_by(C.run_after, C.id).limit(limit)
        locked = candidates.with_for_update(skip_locked=True).cte("candidates")
        statement = (
            update(JOBS)
            .where(C.id == locked.c.id)
            .values(
                state="RUNNING",
                epoch=C.epoch + 1,
                attempt=C.attempt + 1,
                lease_until=func.now() + lease,
                start_time=func.coalesce(C.start_time, func.now()),
            )
        )
        async with unavailable_as_error(), self._database.machinery.begin() as connection:
            return [JobRecord.of(row) for row in await connection.execute(statement.returning(JOBS))]

    async def heartbeat(self, job: JobRecord, *, lease: timedelta) -> Heartbeat:
        """Renew the lease, and learn whether the job is still ours and still wanted."""
        statement = self._ours(job).values(lease_until=func.now() + lease).returning(C.cancel_requested)
        async with unavailable_as_error(), self._database.machinery.begin() as connection:
            row = (await connection.execute(statement)).first()
        return Heartbeat(False) if row is None else Heartbeat(True, row.cancel_requested)

    async def progress(self, job: JobRecord, *, done: int, total: int, note: str, announce: bool) -> JobRecord | None:
        """Write how far the job is; return it, or None when it is not ours any more."""
        values = {"progress_done": done, "progress_total": total, "progress_note": note[:200]}
        return await self._transition(self._ours(job).values(**values), JobRecord.progressed if announce else None)

    async def succeed(self, job: JobRecord) -> bool:
        """End the job well; return whether it was still ours to end."""
        return await self._end(job, "SUCCEEDED", reason="", message="")

    async def fail(self, job: JobRecord, *, reason: str, message: str) -> bool:
        """End the job with an error; return whether it was still ours to end."""
        return await self._end(job, "FAILED", reason=reason, message=message)

    async def cancel_running(self, job: JobRecord) -> bool:
        """End the job as cancelled; return whether it was still ours to end."""
        return await self._end(job, "CANCELLED", reason="", message="")

    async def retry(self, job: JobRecord, *, after: timedelta, reason: str, message: str) -> bool:
        """Queue the job again for a later attempt; return whether it was still ours."""
        values = {
            "state": "QUEUED",
            "lease_until": None,
            "run_after": func.now() + after,
            "error_reason": reason,
            "error_message": message[:MAX_ERROR_CHARACTERS],
        }
        return await self._transition(self._ours(job).values(**values), JobRecord.progressed) is not None

    async def hand_back(self, job: JobRecord) -> bool:
        """Queue the job again at once without counting the attempt: its worker stops, nothing is wrong with it."""
        values = {"state": "QUEUED", "lease_until": None, "run_after": func.now(), "attempt": C.attempt - 1}
        return await self._transition(self._ours(job).values(**values), None) is not None

    async def _end(self, job: JobRecord, state: str, *, reason: str, message: str) -> bool:
        # The payload has done its work; what stays for thirty days is what people ask about.
        values = ending(state, reason=reason, message=message)
        return await self._transition(self._ours(job).values(**values), JobRecord.finished) is not None

    def _ours(self, job: JobRecord) -> Update:
        return update(JOBS).where(C.id == job.id, C.epoch == job.epoch, C.state == "RUNNING")

    async def _transition(self, statement: Update, event: Any) -> JobRecord | None:  # Any: a method of JobRecord
        async with unavailable_as_error(), self._database.machinery.begin() as connection:
            row = (await connection.execute(statement.returning(JOBS))).first()
            if row is None:
                return None
            record = JobRecord.of(row)
            if event is not None:
                await self._announce(connection, record, event(record, self._service))
        return record

    async def _announce(self, connection: AsyncConnection, record: JobRecord, event: Message) -> None:
        now = (await connection.execute(select(func.now()))).scalar_one()
        announced = Outbox(
            Origin(
                service=self._service,
                organization_id=record.organization_id,
                actor=record.actor,
                time=now,
                request_id=record.request_id,
                traceparent=record.traceparent,
            )
        )
        announced.add(event, target=record.show(self._service), revision=record.epoch)
        for rows in announced.take().values():
            await outbox.write(connection, rows)


def ending(state: str, *, reason: str = "", message: str = "") -> dict[str, Any]:  # Any: values of a row
    """Return what a row becomes when its job ends."""
    return {
        "state": state,
        "lease_until": None,
        "end_time": func.now(),
        "payload": {},
        "cancel_requested": False,
        "error_reason": reason,
        "error_message": message[:MAX_ERROR_CHARACTERS],
    }
