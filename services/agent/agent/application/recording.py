"""What a worker writes about a run, each in one transaction that its lease must survive."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError

from agent.application.claimed_run import ClaimedRun
from agent.application.journal import JournalWriter, LeaseLost
from agent.domain import ids, journal, states
from agent.domain.definition import Definition
from agent.domain.models import ModelCatalogue, ModelSpec
from agent.domain.ports import JournalEvent, Tail
from agent.domain.prompt import number_passages
from agent.domain.steps import CANCELLED, FAILED, Step, Usage
from agent.models import Run
from agent.repositories import Claim
from agent.unit_of_work import AgentUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import FleetError
from chassis.rpc.caller import Actor
from definable.agent.v1.events_pb2 import RunEnded, RunUsageRecorded, RunWaited

log = structlog.get_logger(__name__)

T = TypeVar("T")
Write = Callable[[AgentUnitOfWork], Awaitable[None]]

_PAUSE_AFTER_FAILURE = timedelta(milliseconds=500)
# Classes of SQLSTATE that say nothing against the statement: connection lost, rolled back (as a deadlock's victim),
# resources exhausted, ended by an operator or by the time limit.
_PASSING_SQLSTATES = ("08", "40", "53", "57")


class Recorder:
    """Loads claimed runs and records what becomes of them. Writes raise LeaseLost when another worker has the run.

    While the database is away or overloaded both are tried again: a worker that gave up would leave a run that it holds
    to the next one, which would take a step twice whose outcome was known here.
    """

    def __init__(
        self, acquire: Acquire[AgentUnitOfWork], journals: JournalWriter, tail: Tail, models: ModelCatalogue
    ) -> None:
        self._acquire = acquire
        self._journals = journals
        self._tail = tail
        self._models = models

    async def load(self, claim: Claim) -> ClaimedRun:
        """Read a run as its last worker left it, and count its time from now if this is the first."""
        return await _insist(lambda: self._load(claim), run_id=claim.run_id)

    async def _load(self, claim: Claim) -> ClaimedRun:
        async with self._acquire.as_organization(claim.organization_id, Actor.service("agent")) as work:
            await self._hold(work, claim)
            row = await work.runs.get(claim.run_id)
            if row is None:
                raise LeaseLost
            definition = Definition.from_json(row.definition)
            left = await work.runs.take_up(row.id, limit=definition.limits.duration, state=states.RUNNING)
            steps = await work.run_steps.of_run(row.id)
            last_seq = await work.run_events.last_seq(row.id)
            return self._claimed(claim, row, definition, left=left, steps=steps, last_seq=last_seq)

    def _claimed(
        self, claim: Claim, row: Run, definition: Definition, *, left: timedelta, steps: list[Step], last_seq: int
    ) -> ClaimedRun:
        return ClaimedRun(
            claim=claim,
            actor=Actor(row.actor_subject, row.actor_kind, row.owner_id, row.end_user or None),
            definition=definition,
            model=self._model(row.model),
            history=row.history,
            input=row.input,
            agent_id=row.agent_id,
            conversation_id=row.conversation_id,
            message_id=row.message_id,
            steps=steps,
            usage=Usage(
                input_tokens=row.input_tokens, output_tokens=row.output_tokens, cost_nano_usd=row.cost_nano_usd
            ),
            journal=self._journals.open(claim, last_seq=last_seq),
            deadline=time.monotonic() + left.total_seconds(),
            passages=number_passages(steps),
        )

    def _model(self, model_id: str) -> ModelSpec:
        """Return the run's model; one that is configured no more fails when it is asked."""
        try:
            return self._models.find(model_id)
        except FleetError:
            return ModelSpec(id=model_id, provider="", name=model_id, display_name=model_id)

    async def checkpoint(self, run: ClaimedRun, step: Step) -> None:
        """Record a step as it is, with everything that was announced."""

        async def write(work: AgentUnitOfWork) -> None:
            await work.run_steps.save(run.run_id, step)
            await work.runs.set(run.run_id, step_count=len(run.steps), **run.usage.as_json())

        await self._record(run, write)

    async def wait(self, run: ClaimedRun, step: Step) -> None:
        """Let a run rest until a person has answered the question of its step."""
        action = {
            "kind": step.question,
            "call_id": step.call_id,
            "tool_id": step.input.get("tool_id", ""),
            "tool_name": step.name,
            "arguments": step.input.get("arguments") or {},
        }
        run.announce(journal.RUN_REQUIRES_ACTION, step, **action)
        waited = RunWaited(run_id=ids.RUN.show(run.run_id), call_id=step.call_id, kind=step.question)

        async def write(work: AgentUnitOfWork) -> None:
            await work.run_steps.save(run.run_id, step)
            await work.runs.set(
                run.run_id,
                state=states.REQUIRES_ACTION,
                required_action=action,
                wait_time=work.now(),
                step_count=len(run.steps),
                **run.usage.as_json(),
            )
            await work.run_leases.rest(run.run_id)
            work.outbox.add(waited, target=waited.run_id)

        await self._record(run, write)

    async def end(self, run: ClaimedRun, state: str, *, error: FleetError | None = None) -> None:
        """End a run: its last step, its last events, its answer, what it used, and the facts that others hear of."""
        _announce_end(run, state, error)
        last = run.steps[-1] if run.steps else None

        async def write(work: AgentUnitOfWork) -> None:
            if last is not None:
                await work.run_steps.save(run.run_id, last)
            await work.runs.set(run.run_id, end_time=work.now(), **_outcome(run, state, error))
            await work.run_leases.drop(run.run_id)
            _tell_others(work, run, state)

        await self._record(run, write)

    async def _record(self, run: ClaimedRun, write: Write) -> None:
        """Write something with everything that was announced, until it is written or the lease is lost."""
        events = await run.journal.take()

        async def attempt() -> None:
            run.journal.check()
            await self._commit(run, events, write)

        await _insist(attempt, run_id=run.run_id)
        await self._tail.announce(run.run_id, events)

    async def _commit(self, run: ClaimedRun, events: list[JournalEvent], write: Write) -> None:
        async with self._acquire.as_organization(run.organization_id, run.actor) as work:
            await self._hold(work, run.claim)
            await work.run_events.append(run.run_id, events)
            await write(work)

    async def _hold(self, work: AgentUnitOfWork, claim: Claim) -> None:
        if not await work.run_leases.hold(claim.run_id, epoch=claim.epoch):
            raise LeaseLost


async def _insist(attempt: Callable[[], Awaitable[T]], *, run_id: UUID) -> T:
    """Attempt a transaction until the database has taken it. Raises what is no passing failure of the database."""
    while True:
        try:
            return await attempt()
        except (FleetError, DBAPIError, OSError) as error:
            if not _is_passing(error):
                raise
            log.warning("recording.database_away", run_id=str(run_id), error=repr(error.__cause__ or error))
        await asyncio.sleep(_PAUSE_AFTER_FAILURE.total_seconds())


def _is_passing(error: FleetError | DBAPIError | OSError) -> bool:
    if isinstance(error, FleetError):
        return error.metadata.get("dependency") == "postgres"
    if isinstance(error, DBAPIError):
        return str(getattr(error.orig, "sqlstate", None) or "").startswith(_PASSING_SQLSTATES)
    return True


def _announce_end(run: ClaimedRun, state: str, error: FleetError | None) -> None:
    if state != states.COMPLETED:
        _close_last_step(run, state, error)
    if state == states.COMPLETED:
        run.announce(journal.MESSAGE_COMPLETED, **_message(run), text=run.text, citation_count=len(run.citations))
        run.announce(journal.RUN_COMPLETED, usage=run.usage.as_json())
    elif error is not None:
        run.announce(journal.RUN_FAILED, reason=error.reason, message=str(error), usage=run.usage.as_json())
    else:
        run.announce(journal.RUN_CANCELLED, usage=run.usage.as_json())


def _close_last_step(run: ClaimedRun, state: str, error: FleetError | None) -> None:
    if not run.steps or run.steps[-1].is_recorded:
        return
    step = run.steps[-1]
    step.state = FAILED if state == states.FAILED else CANCELLED
    step.error_reason = error.reason if error else ""
    run.announce(journal.STEP_COMPLETED, step, kind=step.kind, name=step.name, state=step.state)


def _message(run: ClaimedRun) -> dict[str, Any]:
    if run.message_id is None or run.conversation_id is None:
        return {}
    return {
        "message_id": ids.MESSAGE.show(run.message_id),
        "conversation_id": ids.CONVERSATION.show(run.conversation_id),
    }


def announce_start(run: ClaimedRun) -> None:
    """Open the journal of a run that has none."""
    run.announce(journal.MESSAGE_CREATED, role="assistant", **_message(run))
    agent_id = ids.AGENT.show(run.agent_id) if run.agent_id else ""
    run.announce(journal.RUN_STARTED, run_id=ids.RUN.show(run.run_id), model=run.model.id, agent_id=agent_id)


def _outcome(run: ClaimedRun, state: str, error: FleetError | None) -> dict[str, Any]:
    return {
        "state": state,
        "required_action": None,
        "output_text": run.text,
        "citations": run.citations,
        "error_reason": error.reason if error else "",
        "error_message": str(error) if error else "",
        "step_count": len(run.steps),
        **run.usage.as_json(),
    }


def _tell_others(work: AgentUnitOfWork, run: ClaimedRun, state: str) -> None:
    run_id = ids.RUN.show(run.run_id)
    message = _message(run)
    ended = RunEnded(
        run_id=run_id,
        message_id=message.get("message_id", ""),
        conversation_id=message.get("conversation_id", ""),
        state=state,
    )
    work.outbox.add(ended, target=run_id)
    work.outbox.add(
        RunUsageRecorded(
            run_id=run_id,
            agent_id=ids.AGENT.show(run.agent_id) if run.agent_id else "",
            model=run.model.id,
            principal_id=ids.USER.show(run.actor.principal_id) if run.actor.principal_id else "",
            key_id=run.actor.subject if run.actor.kind == "api_key" else "",
            steps=len(run.steps),
            **run.usage.as_json(),
        ),
        target=run_id,
    )
