"""All SQL of the agent service. Scoped to one organization, but for the two classes of the run engine at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import orjson
from sqlalchemy import Select, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from agent.domain.ports import JournalEvent
from agent.domain.steps import Step, Usage
from agent.domain.visibility import Viewer
from agent.models import Agent, AgentVersion, Run, RunEvent, RunLease, RunStep
from chassis.data.pagination import Page
from chassis.data.repository import Repository


class AgentRepository(Repository[Agent]):
    """Agents of the organization."""

    model = Agent

    async def named(self, display_name: str) -> Agent | None:
        """Return the agent of this name, compared without case."""
        return await self.first(self.query().where(func.lower(Agent.display_name) == func.lower(display_name)))

    async def locked(self, agent_id: UUID) -> Agent | None:
        """Return the agent and hold its row until the unit ends, so that versions are numbered without gaps."""
        return await self.first(self.query().where(Agent.id == agent_id).with_for_update())

    async def page_of(self, *, page_size: int, page_token: str) -> Page[Agent]:
        """Return a page of agents, newest first."""
        return await self.page(
            self.query(), order=[(Agent.create_time, "desc")], page_size=page_size, page_token=page_token
        )


class AgentVersionRepository(Repository[AgentVersion]):
    """Published versions of the organization's agents."""

    model = AgentVersion

    async def numbered(self, agent_id: UUID, version: int) -> AgentVersion | None:
        """Return one version of an agent."""
        return await self.first(self.query().where(AgentVersion.agent_id == agent_id, AgentVersion.version == version))

    async def page_of(self, agent_id: UUID, *, page_size: int, page_token: str) -> Page[AgentVersion]:
        """Return a page of an agent's versions, newest first."""
        return await self.page(
            self.query().where(AgentVersion.agent_id == agent_id),
            order=[(AgentVersion.version, "desc")],
            page_size=page_size,
            page_token=page_token,
            filter_key=str(agent_id),
        )


class RunRepository(Repository[Run]):
    """Runs of the organization."""

    model = Run

    async def seen(self, run_id: UUID, viewer: Viewer) -> Run | None:
        """Return a run that the viewer may see."""
        return await self.first(self._seen(viewer).where(Run.id == run_id))

    async def seen_locked(self, run_id: UUID, viewer: Viewer) -> Run | None:
        """Return a run that the viewer may see, and hold its row until the unit ends."""
        return await self.first(self._seen(viewer).where(Run.id == run_id).with_for_update())

    async def page_of(
        self, viewer: Viewer, *, agent_id: UUID | None, state: str, page_size: int, page_token: str
    ) -> Page[Run]:
        """Return a page of the runs that the viewer may see, newest first."""
        statement = self._seen(viewer)
        if agent_id is not None:
            statement = statement.where(Run.agent_id == agent_id)
        if state:
            statement = statement.where(Run.state == state)
        return await self.page(
            statement,
            order=[(Run.create_time, "desc")],
            page_size=page_size,
            page_token=page_token,
            filter_key=f"{viewer}:{agent_id}:{state}",
        )

    async def take_up(self, run_id: UUID, *, limit: timedelta, state: str) -> timedelta:
        """Mark a run as running, its time limit counted from the first time, and return the time it has left."""
        statement = (
            update(Run)
            .where(Run.organization_id == self.organization_id, Run.id == run_id)
            .values(
                state=state,
                start_time=func.coalesce(Run.start_time, func.now()),
                deadline_time=func.coalesce(Run.deadline_time, func.now() + limit),
            )
            .returning(Run.deadline_time - func.now())
        )
        return cast("timedelta", (await self.session.execute(statement)).scalar_one())

    async def set(self, run_id: UUID, **values: Any) -> None:
        """Set columns of a run."""
        statement = update(Run).where(Run.organization_id == self.organization_id, Run.id == run_id)
        await self.session.execute(statement.values(**values))

    def _seen(self, viewer: Viewer) -> Select[Run]:
        if viewer.sees_all:
            return self.query()
        return self.query().where(Run.owner_id == viewer.principal_id, Run.end_user == viewer.end_user)


class RunStepRepository(Repository[RunStep]):
    """Steps of the organization's runs."""

    model = RunStep

    async def of_run(self, run_id: UUID) -> list[Step]:
        """Return all steps of a run, first to last; their number is limited by the run."""
        rows = await self.all(self.query().where(RunStep.run_id == run_id).order_by(RunStep.step))
        return [_step(row) for row in rows]

    async def page_of(self, run_id: UUID, *, after: int, page_size: int) -> Sequence[RunStep]:
        """Return steps of a run from `after` + 1 on."""
        statement = self.query().where(RunStep.run_id == run_id, RunStep.step > after)
        return await self.all(statement.order_by(RunStep.step).limit(page_size))

    async def save(self, run_id: UUID, step: Step) -> None:
        """Record a step as it is now; its start is that of its last attempt."""
        values = _columns(step)
        ended = None if step.state in ("running", "waiting") else func.clock_timestamp()
        statement = insert(RunStep).values(
            organization_id=self.organization_id,
            run_id=run_id,
            step=step.step,
            start_time=func.clock_timestamp(),
            end_time=ended,
            **values,
        )
        begun = statement.excluded.start_time if step.state == "running" else RunStep.start_time
        await self.session.execute(
            statement.on_conflict_do_update(
                index_elements=["organization_id", "run_id", "step"],
                set_={**values, "start_time": begun, "end_time": statement.excluded.end_time},
            )
        )

    async def decide(self, run_id: UUID, *, call_id: str, decision: str) -> None:
        """Record what a person said about the call that a run waits for."""
        statement = update(RunStep).where(
            RunStep.organization_id == self.organization_id,
            RunStep.run_id == run_id,
            RunStep.call_id == call_id,
            RunStep.state == "waiting",
        )
        await self.session.execute(statement.values(decision=decision))


def _columns(step: Step) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "name": step.name,
        "call_id": step.call_id,
        "attempt": step.attempt,
        "state": step.state,
        "input": step.input,
        "output": step.output,
        "question": step.question,
        "decision": step.decision,
        "error_reason": step.error_reason,
        **step.usage.as_json(),
    }


def _step(row: RunStep) -> Step:
    usage = Usage(input_tokens=row.input_tokens, output_tokens=row.output_tokens, cost_nano_usd=row.cost_nano_usd)
    same = {name: getattr(row, name) for name in Step.__dataclass_fields__ if name != "usage"}
    return Step(usage=usage, **same)


class RunEventRepository(Repository[RunEvent]):
    """Journals of the organization's runs."""

    model = RunEvent

    async def last_seq(self, run_id: UUID) -> int:
        """Return the seq of the last event of a run; 0 without one."""
        statement = select(func.coalesce(func.max(RunEvent.seq), 0)).where(
            RunEvent.organization_id == self.organization_id, RunEvent.run_id == run_id
        )
        return int((await self.session.execute(statement)).scalar_one())

    async def after(self, run_id: UUID, seq: int, *, limit: int) -> list[JournalEvent]:
        """Return events of a run after `seq`, in order."""
        return await self._events(self._of(run_id).where(RunEvent.seq > seq).limit(limit))

    async def of_types(self, run_id: UUID, types: Sequence[str]) -> list[JournalEvent]:
        """Return the events of a run that have one of the types, in order."""
        return await self._events(self._of(run_id).where(RunEvent.type.in_(types)))

    async def append(self, run_id: UUID, events: Sequence[JournalEvent]) -> None:
        """Append events, but for those that a commit whose answer was lost has written before.

        The caller holds the run's lease in the same unit, so nobody else can have written them.
        """
        if events:
            await self.session.execute(
                insert(RunEvent).on_conflict_do_nothing(),
                [
                    {
                        "organization_id": self.organization_id,
                        "run_id": run_id,
                        "seq": event.seq,
                        "type": event.type,
                        "data": event.data,
                        "time": event.time,
                    }
                    for event in events
                ],
            )

    def _of(self, run_id: UUID) -> Select[Any]:
        columns = select(RunEvent.seq, RunEvent.type, RunEvent.data, RunEvent.time)
        scoped = columns.where(RunEvent.organization_id == self.organization_id, RunEvent.run_id == run_id)
        return cast("Select[Any]", scoped.order_by(RunEvent.seq))

    async def _events(self, statement: Select[Any]) -> list[JournalEvent]:
        rows = await self.session.execute(statement)
        return [JournalEvent(seq=row.seq, type=row.type, data=row.data, time=row.time) for row in rows]


class RunLeaseRepository(Repository[RunLease]):
    """Leases of the organization's runs: there is one for each run that has not ended."""

    model = RunLease

    async def hold(self, run_id: UUID, *, epoch: int) -> bool:
        """Hold the lease's row until the unit ends; False when another worker has claimed the run or it rests."""
        held = self._of(run_id).where(RunLease.epoch == epoch, RunLease.lease_until.is_not(None))
        statement = held.with_for_update()
        return await self.first(statement) is not None

    async def want(self, run_id: UUID) -> None:
        """Let a worker claim the run."""
        await self._set(run_id, wanted=True)

    async def rest(self, run_id: UUID) -> None:
        """Give up the lease until somebody wants the run again."""
        await self._set(run_id, wanted=RunLease.cancel_requested, worker="", lease_until=None)

    async def request_cancel(self, run_id: UUID) -> None:
        """Have the run's worker end it, one that it has or one that claims it for that."""
        await self._set(run_id, wanted=True, cancel_requested=True)

    async def drop(self, run_id: UUID) -> None:
        """Remove the lease of a run that has ended."""
        await self.session.execute(
            delete(RunLease).where(RunLease.organization_id == self.organization_id, RunLease.run_id == run_id)
        )

    def _of(self, run_id: UUID) -> Select[RunLease]:
        return self.query().where(RunLease.run_id == run_id)

    async def _set(self, run_id: UUID, **values: Any) -> None:
        statement = update(RunLease).where(RunLease.organization_id == self.organization_id, RunLease.run_id == run_id)
        await self.session.execute(statement.values(**values))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run that this worker may write to until another claims it."""

    organization_id: UUID
    run_id: UUID
    epoch: int
    cancel_requested: bool


class LeaseBoard:
    """The leases of all organizations, for workers. They hold no content; the clock is the database's."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def claim(self, *, worker: str, lease: timedelta, limit: int) -> list[Claim]:
        """Take up to `limit` runs that are wanted and that nobody holds, the oldest first."""
        statement = text("""
            UPDATE agent.run_leases AS l
            SET epoch = l.epoch + 1, worker = :worker, lease_until = now() + :lease
            FROM (
                SELECT organization_id, run_id FROM agent.run_leases
                WHERE wanted AND (lease_until IS NULL OR lease_until < now())
                ORDER BY create_time LIMIT :limit FOR UPDATE SKIP LOCKED
            ) AS free
            WHERE l.organization_id = free.organization_id AND l.run_id = free.run_id
            RETURNING l.organization_id, l.run_id, l.epoch, l.cancel_requested
        """)
        rows = await self._session.execute(statement, {"worker": worker, "lease": lease, "limit": limit})
        return [Claim(**row) for row in rows.mappings()]

    async def extend(self, claims: Sequence[Claim], *, lease: timedelta) -> set[UUID]:
        """Extend leases and return the runs whose lease is still held.

        Rows are locked in order of their runs, as `JournalTable.append` does: two orders would be a deadlock. The time
        counts from the lock, for which this may have waited.
        """
        statement = text("""
            WITH mine AS (
                SELECT l.organization_id, l.run_id
                FROM agent.run_leases AS l
                JOIN unnest(CAST(:organizations AS uuid[]), CAST(:runs AS uuid[]), CAST(:epochs AS bigint[]))
                    AS held(organization_id, run_id, epoch)
                    ON l.organization_id = held.organization_id AND l.run_id = held.run_id AND l.epoch = held.epoch
                ORDER BY l.run_id FOR NO KEY UPDATE OF l
            )
            UPDATE agent.run_leases AS l SET lease_until = clock_timestamp() + :lease
            FROM mine WHERE l.organization_id = mine.organization_id AND l.run_id = mine.run_id
            RETURNING l.run_id
        """)
        return set((await self._session.scalars(statement, {"lease": lease, **_arrays(claims)})).all())

    async def cancelled(self, *, worker: str) -> set[UUID]:
        """Return the worker's runs that somebody asked to stop."""
        statement = text("SELECT run_id FROM agent.run_leases WHERE worker = :worker AND cancel_requested")
        return set((await self._session.scalars(statement, {"worker": worker})).all())

    async def hand_back(self, claims: Sequence[Claim]) -> None:
        """Let other workers claim the runs at once."""
        statement = text("""
            UPDATE agent.run_leases AS l SET lease_until = NULL, worker = ''
            FROM unnest(CAST(:organizations AS uuid[]), CAST(:runs AS uuid[]), CAST(:epochs AS bigint[]))
                AS held(organization_id, run_id, epoch)
            WHERE l.organization_id = held.organization_id AND l.run_id = held.run_id AND l.epoch = held.epoch
        """)
        await self._session.execute(statement, _arrays(claims))


def _arrays(claims: Sequence[Claim]) -> dict[str, list[Any]]:
    return {
        "organizations": [claim.organization_id for claim in claims],
        "runs": [claim.run_id for claim in claims],
        "epochs": [claim.epoch for claim in claims],
    }


class JournalTable:
    """The journals of all organizations, for the one writer of a process."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def append(self, batch: Sequence[tuple[Claim, JournalEvent]]) -> set[UUID]:
        """Append the events of many runs in one statement and return the runs whose claim still holds.

        The lease's row is locked with the insert, so that a worker that claims the run later sees all of it or none.
        Events that a commit whose answer was lost has written before are left as they are; their run is returned, too.
        """
        statement = text("""
            WITH held AS (
                SELECT e.organization_id, e.run_id, e.seq, e.type, CAST(e.data AS jsonb) AS data, e.time
                FROM unnest(
                    CAST(:organizations AS uuid[]), CAST(:runs AS uuid[]), CAST(:epochs AS bigint[]),
                    CAST(:seqs AS bigint[]), CAST(:types AS text[]), CAST(:data AS text[]),
                    CAST(:times AS timestamptz[])
                ) AS e(organization_id, run_id, epoch, seq, type, data, time)
                JOIN agent.run_leases AS l
                    ON l.organization_id = e.organization_id AND l.run_id = e.run_id AND l.epoch = e.epoch
                ORDER BY l.run_id, e.seq FOR SHARE OF l
            ), written AS (
                INSERT INTO agent.run_events (organization_id, run_id, seq, type, data, time)
                SELECT organization_id, run_id, seq, type, data, time FROM held
                ON CONFLICT DO NOTHING
            )
            SELECT DISTINCT run_id FROM held
        """)
        events = [event for _, event in batch]
        values = {
            **_arrays([claim for claim, _ in batch]),
            "seqs": [event.seq for event in events],
            "types": [event.type for event in events],
            "data": [orjson.dumps(event.data).decode() for event in events],
            "times": [event.time for event in events],
        }
        return set((await self._session.scalars(statement, values)).all())
