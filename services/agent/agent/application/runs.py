"""Runs as people see them: start, get, list, cancel, resolve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agent.domain import ids, journal, states
from agent.domain.definition import Definition, violations_of
from agent.domain.errors import (
    AgentDefinitionInvalid,
    AgentNotFound,
    AgentNotPublished,
    AgentVersionNotFound,
    CallNotWaiting,
    RunIdTaken,
    RunNotFound,
    RunNotWaiting,
)
from agent.domain.journal import Reading
from agent.domain.models import ModelCatalogue
from agent.domain.steps import APPROVED, DENIED
from agent.domain.visibility import Viewer
from agent.models import Agent, Run, RunLease
from agent.unit_of_work import AgentUnitOfWork
from chassis.errors import PermissionDenied
from chassis.rpc.caller import current_caller
from definable.agent.v1.events_pb2 import RunCancellationRequested, RunResolved, RunStarted
from definable.options.v1.options_pb2 import Rank

READ_ALL = "agent.runs.read_all"


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """What answers: an agent (its latest version when 0), a definition, or a bare model ("" is the default)."""

    agent_id: UUID | None = None
    version: int = 0
    definition: Definition | None = None
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The conversation and the message that a run fills."""

    conversation_id: UUID
    message_id: UUID


def viewer_of(work: AgentUnitOfWork) -> Viewer:
    """Return whose runs the caller sees. Raises PermissionDenied for a caller that stands for no person."""
    if work.actor.principal_id is None:
        raise PermissionDenied
    return Viewer(
        principal_id=work.actor.principal_id,
        end_user=work.actor.end_user or "",
        sees_all=current_caller().may(READ_ALL, Rank.ADMIN),
    )


async def start(
    work: AgentUnitOfWork,
    models: ModelCatalogue,
    *,
    answerer: Answerer,
    history: Sequence[dict[str, Any]],
    input: str,
    run_id: UUID | None = None,
    origin: Origin | None = None,
) -> Run:
    """Accept a run: record it, want a worker for it, announce it. One of the caller's with this id is returned as is.

    Raises AgentNotFound, AgentNotPublished, AgentVersionNotFound, AgentDefinitionInvalid, ModelNotFound, RunIdTaken.
    """
    viewer = viewer_of(work)
    if run_id is not None and (existing := await work.runs.get(run_id)):
        return _owned(existing, viewer)
    agent, version, definition = await _resolve(work, answerer)
    model = models.find(definition.model)
    run = Run(
        id=run_id or work.new_id(),
        owner_id=viewer.principal_id,
        end_user=viewer.end_user,
        actor_subject=work.actor.subject,
        actor_kind=str(work.actor.kind),
        agent_id=agent.id if agent else None,
        agent_version=version,
        model=model.id,
        definition=definition.as_json(),
        history=list(history),
        input=input,
        conversation_id=origin.conversation_id if origin else None,
        message_id=origin.message_id if origin else None,
        state=states.QUEUED,
        citations=[],
        create_time=work.now(),
    )
    work.runs.add(run)
    work.run_leases.add(RunLease(run_id=run.id, epoch=0, create_time=work.now()))
    _announce(work, run)
    await work.session.flush()
    return run


def _announce(work: AgentUnitOfWork, run: Run) -> None:
    started = RunStarted(
        run_id=ids.RUN.show(run.id),
        agent_id=ids.AGENT.show(run.agent_id) if run.agent_id else "",
        conversation_id=ids.CONVERSATION.show(run.conversation_id) if run.conversation_id else "",
    )
    work.outbox.add(started, target=started.run_id)


def _owned(run: Run, viewer: Viewer) -> Run:
    if (run.owner_id, run.end_user) != (viewer.principal_id, viewer.end_user):
        raise RunIdTaken
    return run


async def _resolve(work: AgentUnitOfWork, answerer: Answerer) -> tuple[Agent | None, int, Definition]:
    if answerer.agent_id is None:
        definition = answerer.definition or Definition(model=answerer.model)
        if violations := violations_of(definition):
            raise AgentDefinitionInvalid(violations=violations)
        return None, 0, definition
    agent = await work.agents.get(answerer.agent_id)
    if agent is None:
        raise AgentNotFound
    if not agent.published_version:
        raise AgentNotPublished
    number = answerer.version or agent.published_version
    version = await work.agent_versions.numbered(agent.id, number)
    if version is None:
        raise AgentVersionNotFound(version=number)
    return agent, number, Definition.from_json(version.definition)


async def get(work: AgentUnitOfWork, run_id: UUID) -> Run:
    """Return a run of the caller's. Raises RunNotFound."""
    run = await work.runs.seen(run_id, viewer_of(work))
    if run is None:
        raise RunNotFound
    return run


async def get_of_anybody(work: AgentUnitOfWork, run_id: UUID) -> Run:
    """Return a run of the organization, for a process that stores its answer for its owner. Raises RunNotFound."""
    run = await work.runs.get(run_id)
    if run is None:
        raise RunNotFound
    return run


async def cancel(work: AgentUnitOfWork, run_id: UUID) -> Run:
    """Ask a run to stop; one that has ended stays as it is. Raises RunNotFound."""
    # Not locked: workers lock the lease before the run, and two orders would be a deadlock.
    run = await work.runs.seen(run_id, viewer_of(work))
    if run is None:
        raise RunNotFound
    if run.state not in states.TERMINAL:
        await work.run_leases.request_cancel(run.id)
        shown = ids.RUN.show(run.id)
        work.outbox.add(RunCancellationRequested(run_id=shown), target=shown)
    return run


async def resolve(work: AgentUnitOfWork, run_id: UUID, *, call_id: str, approved: bool) -> Run:
    """Answer what a run waits for, and let it go on; the time it waited does not count.

    Raises RunNotFound, RunNotWaiting, CallNotWaiting.
    """
    run = await work.runs.seen_locked(run_id, viewer_of(work))
    if run is None:
        raise RunNotFound
    if run.state != states.REQUIRES_ACTION or run.required_action is None:
        raise RunNotWaiting
    if run.required_action["call_id"] != call_id:
        raise CallNotWaiting(call_id=run.required_action["call_id"])
    await work.run_steps.decide(run.id, call_id=call_id, decision=APPROVED if approved else DENIED)
    _go_on(work, run)
    await work.run_leases.want(run.id)
    shown = ids.RUN.show(run.id)
    work.outbox.add(RunResolved(run_id=shown, call_id=call_id, approved=approved), target=shown)
    return run


def _go_on(work: AgentUnitOfWork, run: Run) -> None:
    if run.deadline_time is not None and run.wait_time is not None:
        run.deadline_time += work.now() - run.wait_time
    run.state, run.required_action, run.wait_time = states.QUEUED, None, None


async def answer_so_far(work: AgentUnitOfWork, run: Run) -> Reading:
    """Return what a run has answered: the whole once it has ended, before that what its stream has shown."""
    if run.state in states.TERMINAL:
        return Reading(text=run.output_text, citations=run.citations)
    return journal.read_answer(await work.run_events.of_types(run.id, journal.OF_THE_ANSWER))
