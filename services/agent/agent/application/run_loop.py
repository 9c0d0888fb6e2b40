"""The loop of a run: search, ask the model, make its calls, ask again, until the answer is complete."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from agent.application import calling
from agent.application.answering import Providers, ask_model, begin_answer
from agent.application.calling import CallMaker, OutcomeUnknown
from agent.application.claimed_run import ClaimedRun, Interrupted, Interruption
from agent.application.journal import LeaseLost
from agent.application.recording import Recorder, announce_start
from agent.application.retrieving import search
from agent.application.spending import Spending
from agent.domain import journal, states
from agent.domain.errors import ProviderRateLimited, ProviderUnavailable, RunFault
from agent.domain.plan import AskModel, CallTool, Complete, Retrieve, TakeUp, check_limits, next_of
from agent.domain.ports import Budget, Knowledge, Tools
from agent.domain.steps import (
    APPROVAL,
    APPROVED,
    AT_MOST_ONCE,
    DENIED,
    MODEL,
    OUTCOME_UNKNOWN,
    RETRIEVAL,
    RUNNING,
    SUCCEEDED,
    TOOL,
    WAITING,
    Step,
)
from chassis.errors import Code, FleetError
from chassis.rpc.caller import Actor

log = structlog.get_logger(__name__)

ActingFor = Callable[[UUID, Actor], AbstractAsyncContextManager[object]]

# Pauses between attempts of one worker at one step; after the last one the failure stands.
_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (0.2, 1.0, 3.0, 5.0, 10.0))
# While auth is away nothing may be decided about the actor's rights: the run waits, up to its time limit.
_PAUSE_FOR_AUTH = timedelta(seconds=3)


class RunLoop:
    """Takes a claimed run as far as it goes."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        providers: Providers,
        knowledge: Knowledge,
        tools: Tools,
        budget: Budget,
        acting_for: ActingFor,
    ) -> None:
        self._recorder = recorder
        self._providers = providers
        self._knowledge = knowledge
        self._tools = tools
        self._calls = CallMaker(tools, knowledge)
        self._budget = budget
        self._acting_for = acting_for

    async def drive(self, run: ClaimedRun) -> None:
        """Run until the run has ended, waits for a person, or is handed back.

        Raises LeaseLost, and what the database has against a statement: the run is resumed when its lease runs out.
        """
        spending = Spending(self._budget, run)
        try:
            async with self._acting_for(run.organization_id, run.actor):
                try:
                    await self._advance_to_end(run, spending)
                finally:
                    await spending.settle()
        except Interrupted as interrupted:
            await self._leave(run, interrupted.interruption)
        except FleetError as error:
            await self._recorder.end(run, states.FAILED, error=error)
        except (LeaseLost, SQLAlchemyError, OSError):
            raise
        except Exception:
            log.exception("run.fault", run_id=str(run.run_id))
            await self._recorder.end(run, states.FAILED, error=RunFault())

    async def _leave(self, run: ClaimedRun, interruption: Interruption) -> None:
        if interruption is Interruption.CANCEL:
            await self._recorder.end(run, states.CANCELLED)
        elif interruption is Interruption.LEASE_LOST:
            raise LeaseLost

    async def _advance_to_end(self, run: ClaimedRun, spending: Spending) -> None:
        if run.journal.last_seq == 0:
            announce_start(run)
        run.interrupter.check()
        if run.definition.callable_tools:
            await self._learn_tools(run)
        while await self._advance(run, spending):
            run.interrupter.check()

    async def _learn_tools(self, run: ClaimedRun) -> None:
        async def learn() -> None:
            run.tools = await run.guarded(calling.describe_tools(self._tools, run.definition))

        await self._persist(run, None, learn)

    async def _advance(self, run: ClaimedRun, spending: Spending) -> bool:
        """Take one step; False when nothing is left to do here."""
        match next_of(run.definition, run.steps):
            case Complete():
                await self._recorder.end(run, states.COMPLETED)
                return False
            case TakeUp(step):
                return await self._take_up(run, step, spending)
            case Retrieve():
                self._check_limits(run)
                step = run.add_step(kind=RETRIEVAL, name="knowledge_search", input={"query": run.input})
                await self._begin(run, step)
                return await self._take(run, step, spending)
            case AskModel():
                self._check_limits(run)
                step = run.add_step(kind=MODEL, name=run.model.id)
                begin_answer(run, step)
                await self._begin(run, step)
                return await self._take(run, step, spending)
            case CallTool(call):
                self._check_limits(run)
                step = run.add_step(kind=TOOL, name=call.name, call_id=call.call_id)
                calling.intend_call(run, step, call)
                return await self._begin_call(run, step, spending)

    def _check_limits(self, run: ClaimedRun) -> None:
        check_limits(run.definition.limits, steps=len(run.steps), usage=run.usage)

    async def _begin(self, run: ClaimedRun, step: Step) -> None:
        run.announce(journal.STEP_STARTED, step, kind=step.kind, name=step.name)
        await self._recorder.checkpoint(run, step)

    async def _begin_call(self, run: ClaimedRun, step: Step, spending: Spending) -> bool:
        run.announce(journal.STEP_STARTED, step, kind=step.kind, name=step.name)
        if calling.needs_approval(run, step):
            return await self._wait(run, step, APPROVAL)
        calling.announce_call(run, step)
        await self._recorder.checkpoint(run, step)
        return await self._take(run, step, spending)

    async def _wait(self, run: ClaimedRun, step: Step, question: str) -> bool:
        calling.ask(run, step, question)
        await self._recorder.wait(run, step)
        return False

    async def _take_up(self, run: ClaimedRun, step: Step, spending: Spending) -> bool:
        """Go on with a step without outcome: a person has decided about it, or a lost worker had begun it."""
        if step.state == WAITING:
            return await self._take_up_decided(run, step, spending)
        if step.kind == TOOL and step.input["effect"] == AT_MOST_ONCE:
            return await self._wait(run, step, OUTCOME_UNKNOWN)
        run.restart(step, reason="WORKER_LOST")
        await self._recorder.checkpoint(run, step)
        return await self._take(run, step, spending)

    async def _take_up_decided(self, run: ClaimedRun, step: Step, spending: Spending) -> bool:
        if step.decision not in (APPROVED, DENIED):
            return await self._wait(run, step, step.question)
        step.state = RUNNING
        if step.decision == APPROVED:
            if step.question == OUTCOME_UNKNOWN:
                run.restart(step, reason="REPETITION_APPROVED")
            calling.announce_call(run, step)
        await self._recorder.checkpoint(run, step)
        return await self._take(run, step, spending)

    async def _take(self, run: ClaimedRun, step: Step, spending: Spending) -> bool:
        """Take a step that is recorded as begun, and record its outcome."""
        try:
            await self._persist(run, step, lambda: self._attempt(run, step, spending))
        except OutcomeUnknown:
            return await self._wait(run, step, OUTCOME_UNKNOWN)
        step.state = SUCCEEDED
        run.announce(journal.STEP_COMPLETED, step, kind=step.kind, name=step.name, state=step.state)
        if isinstance(next_of(run.definition, run.steps), Complete):
            return True  # the end records the step, too
        await self._recorder.checkpoint(run, step)
        return True

    async def _attempt(self, run: ClaimedRun, step: Step, spending: Spending) -> None:
        match step.kind:
            case "retrieval":
                query = step.input["query"]
                await search(self._knowledge, run, step, query=query, retrieval=run.definition.retrieval)
            case "model":
                await run.guarded(spending.ensure())
                await ask_model(self._providers, run, step)
            case _:
                outcome = calling.refusal(run, step) or await self._calls.make(run, step)
                calling.record_outcome(run, step, outcome)

    async def _persist(self, run: ClaimedRun, step: Step | None, attempt: Callable[[], Awaitable[None]]) -> None:
        """Attempt something until it succeeds, fails for good, or failed too often; restart its step in between."""
        failures = 0
        while True:
            try:
                return await attempt()
            except FleetError as error:
                failures += 1
                pause = _pause_after(error, failures)
                if pause is None:
                    raise
                reason = error.reason
                log.info("step.failed", run_id=str(run.run_id), reason=reason, failures=failures)
            await run.pause(pause)
            if step is not None:
                run.restart(step, reason=reason)
                await self._recorder.checkpoint(run, step)


def _pause_after(error: FleetError, failures: int) -> timedelta | None:
    """Return how long to wait before another attempt; None when there is to be none."""
    if not _is_worth_repeating(error):
        return None
    if error.metadata.get("dependency") == "auth":
        return _PAUSE_FOR_AUTH
    return _PAUSES[failures - 1] if failures <= len(_PAUSES) else None


def _is_worth_repeating(error: FleetError) -> bool:
    if isinstance(error, ProviderUnavailable | ProviderRateLimited):
        return True
    # A refused token is dropped with the refusal; the next attempt asks auth for another.
    return error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.UNAUTHENTICATED)
