"""The JobService that every service serves: one job by id, and its cancellation."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select, update

from chassis.data.tables import JOBS
from chassis.data.unit_of_work import Acquire, UnitOfWork
from chassis.errors import JobNotCancellable, JobNotFound
from chassis.ids import job_id
from chassis.messaging.job_store import JobRecord, ending
from chassis.rpc.server import Context
from definable.jobs.v1.job_service_pb2 import CancelJobRequest, GetJobRequest, Job
from definable.jobs.v1.job_service_pb2_grpc import JobServiceServicer


class Jobs(JobServiceServicer):
    """Serves the jobs of the caller's organization."""

    def __init__(self, acquire: Acquire[UnitOfWork], *, service: str) -> None:
        self._acquire = acquire
        self._service = service

    async def GetJob(self, request: GetJobRequest, context: Context) -> Job:
        wanted = job_id(self._service).parse(request.id)
        async with self._acquire() as work:
            return (await get(work, wanted, service=self._service)).to_message(self._service)

    async def CancelJob(self, request: CancelJobRequest, context: Context) -> Job:
        wanted = job_id(self._service).parse(request.id)
        async with self._acquire() as work:
            job = await cancel(work, wanted, service=self._service)
            return work.reply(job.to_message(self._service))


async def get(work: UnitOfWork, id: UUID, *, service: str, for_update: bool = False) -> JobRecord:
    """Return a job of the organization. Raises JobNotFound."""
    query = select(JOBS).where(JOBS.c.id == id, JOBS.c.organization_id == work.organization_id)
    row = (await work.session.execute(query.with_for_update() if for_update else query)).first()
    if row is None:
        raise JobNotFound(id=job_id(service).show(id))
    return JobRecord.of(row)


async def cancel(work: UnitOfWork, id: UUID, *, service: str) -> JobRecord:
    """End a job that waits, or ask the worker of one that runs to stop; again changes nothing.

    Raises JobNotFound, and JobNotCancellable when it succeeded or failed already.
    """
    job = await get(work, id, service=service, for_update=True)
    if job.state in ("SUCCEEDED", "FAILED"):
        raise JobNotCancellable(id=job.show(service))
    if job.state == "CANCELLED":
        return job
    values = ending("CANCELLED") if job.state == "QUEUED" else {"cancel_requested": True}
    changed = await work.session.execute(update(JOBS).where(JOBS.c.id == id).values(**values).returning(JOBS))
    record = JobRecord.of(changed.one())
    event = record.finished(service) if record.state == "CANCELLED" else record.progressed(service)
    work.outbox.add(event, target=record.show(service), revision=record.epoch)
    return record
