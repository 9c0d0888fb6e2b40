"""Enqueuing jobs in a unit of work: the row commits with the change that asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.data.tables import JOBS
from chassis.ids import job_id as id_kind
from chassis.ids import new_id
from chassis.messaging.outbox import Origin
from chassis.rpc.caller import Actor
from chassis.rpc.times import timestamp
from definable.jobs.v1.events_pb2 import JobQueued

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is to be written."""

    id: UUID
    kind: str
    payload: Mapping[str, JSON]
    target: str
    run_after: datetime
    organization_id: UUID | None
    origin: Origin

    def show(self) -> str:
        """Return the id as clients see it."""
        return id_kind(self.origin.service).show(self.id)

    def queued(self) -> JobQueued:
        """Return the event that announces the job."""
        return JobQueued(
            job_id=self.show(), kind=self.kind, target=self.target, create_time=timestamp(self.origin.time)
        )

    def row(self) -> dict[str, Any]:  # Any: values of a row, one type a column
        """Return the job as a row."""
        return {
            "id": self.id,
            "organization_id": self.organization_id,
            "kind": self.kind,
            "target": self.target,
            "payload": dict(self.payload),
            "state": "QUEUED",
            "actor": actor_to_json(self.origin.actor),
            "request_id": self.origin.request_id,
            "traceparent": self.origin.traceparent,
            "run_after": self.run_after,
            "create_time": self.origin.time,
        }


class JobQueue:
    """Collects the jobs of a unit of work; they are written with its commit or not at all."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._pending: list[NewJob] = []

    def enqueue(
        self,
        kind: str,
        payload: Mapping[str, JSON],
        *,
        target: str = "",
        run_after: datetime | None = None,
        job_id: UUID | None = None,
        organization_id: UUID | None = None,
    ) -> UUID:
        """Ask for work and return the id of the job; it runs as the unit's actor, not before `run_after`.

        `payload` is JSON with ids in it, no user text. With a `job_id` that exists already nothing happens.
        `organization_id` is that of the unit unless the work is another's.
        """
        job = NewJob(
            id=job_id or new_id(),
            kind=kind,
            payload=payload,
            target=target,
            run_after=run_after or self._origin.time,
            organization_id=organization_id or self._origin.organization_id,
            origin=self._origin,
        )
        self._pending.append(job)
        return job.id

    def take(self) -> dict[UUID | None, list[NewJob]]:
        """Return the jobs to write, by organization, and forget them."""
        jobs: dict[UUID | None, list[NewJob]] = {}
        for job in self._pending:
            jobs.setdefault(job.organization_id, []).append(job)
        self._pending.clear()
        return jobs


async def write(session: AsyncSession, jobs: Sequence[NewJob]) -> Sequence[NewJob]:
    """Write jobs in the transaction of the caller and return those that are new."""
    statement = insert(JOBS).values([job.row() for job in jobs]).on_conflict_do_nothing().returning(JOBS.c.id)
    written = set((await session.scalars(statement)).all())
    return [job for job in jobs if job.id in written]


def actor_to_json(actor: Actor) -> dict[str, str]:
    """Return an actor as a row keeps it."""
    return {key: str(value) for key, value in asdict(actor).items() if value is not None}


def actor_from_json(fields: Mapping[str, str]) -> Actor:
    """Return the actor that a row keeps."""
    principal = fields.get("principal_id")
    return Actor(
        fields.get("subject", ""),
        fields.get("kind", ""),
        UUID(principal) if principal else None,
        fields.get("end_user"),
    )
