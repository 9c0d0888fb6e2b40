"""A run in the hands of this worker: what it was given, what it has done, and who may interrupt it."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import Any, TypeVar
from uuid import UUID

from agent.application.journal import RunJournal
from agent.domain import journal
from agent.domain.citations import CitationMark
from agent.domain.definition import Definition
from agent.domain.errors import TimeLimitReached
from agent.domain.models import ModelSpec
from agent.domain.passages import PassageBook
from agent.domain.ports import RunnableTool
from agent.domain.steps import MODEL, SUCCEEDED, Step, Usage
from agent.repositories import Claim
from chassis.rpc.caller import Actor

T = TypeVar("T")


class Interruption(IntEnum):
    """Why a run is interrupted; a higher one overrides a lower."""

    HAND_BACK = 1
    CANCEL = 2
    LEASE_LOST = 3


class Interrupted(Exception):
    """The run was interrupted from outside."""

    def __init__(self, interruption: Interruption) -> None:
        super().__init__(interruption.name)
        self.interruption = interruption


class Interrupter:
    """Lets one task end the work of another where that can be ended: in its waiting, never in its writing."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._reason: Interruption | None = None

    def interrupt(self, reason: Interruption) -> None:
        """Interrupt the work, now or at its next wait."""
        if self._reason is None or reason > self._reason:
            self._reason = reason
        self._event.set()

    def hand_back(self) -> None:
        """Interrupt the work at the end of its step; what waits now may end."""
        self._reason = self._reason or Interruption.HAND_BACK

    def check(self) -> None:
        """Raise Interrupted after an interruption."""
        if self._reason is not None:
            raise Interrupted(self._reason)

    async def guard(self, work: Coroutine[Any, Any, T], *, seconds: float) -> T:
        """Do some waiting work; cancel it and raise Interrupted, or TimeLimitReached after the time."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({task, stop}, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not task.done():
                await _ended(task)
        if task.cancelled():
            self.check()
            raise TimeLimitReached
        return task.result()


async def _ended(task: "asyncio.Task[T]") -> None:
    """Cancel a task and wait for it, so that its connections are closed when this returns."""
    task.cancel()
    await asyncio.wait({task})


@dataclass(eq=False, kw_only=True)
class ClaimedRun:
    """A run that this worker has claimed."""

    claim: Claim
    actor: Actor
    definition: Definition
    model: ModelSpec
    history: list[dict[str, Any]]
    input: str
    agent_id: UUID | None
    conversation_id: UUID | None
    message_id: UUID | None
    steps: list[Step]
    usage: Usage
    journal: RunJournal
    deadline: float  # on the clock of time.monotonic
    passages: PassageBook
    interrupter: Interrupter = field(default_factory=Interrupter)
    tools: dict[str, RunnableTool] = field(default_factory=dict)
    text: str = ""
    citations: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for step in self.steps:
            if step.kind == MODEL and step.state == SUCCEEDED:
                self.text += step.output["text"]
                self.citations.extend(step.output["citations"])

    @property
    def run_id(self) -> UUID:
        return self.claim.run_id

    @property
    def organization_id(self) -> UUID:
        return self.claim.organization_id

    async def guarded(self, work: Coroutine[Any, Any, T]) -> T:
        """Do waiting work that a cancellation, a lost lease or the run's time limit may end."""
        return await self.interrupter.guard(work, seconds=self.deadline - time.monotonic())

    async def pause(self, wait: timedelta) -> None:
        """Wait, unless something ends the run before."""
        await self.guarded(asyncio.sleep(wait.total_seconds()))

    def add_step(self, *, kind: str, name: str, call_id: str = "", input: dict[str, Any] | None = None) -> Step:
        """Add the next step, not begun yet."""
        step = Step(step=len(self.steps) + 1, kind=kind, name=name, call_id=call_id, input=input or {})
        self.steps.append(step)
        return step

    def announce(self, type: str, step: Step | None = None, **data: Any) -> None:
        """Add an event to the journal; one of a step carries its place."""
        self.journal.append(type, {**(step.place if step else {}), **data})

    def say(self, step: Step, text: str) -> None:
        """Add text to the answer."""
        self.text += text
        self.journal.append_delta(journal.MESSAGE_DELTA, step.place, text)

    def cite(self, step: Step, mark: CitationMark) -> None:
        """Add a citation to the answer."""
        citation = mark.as_json()
        self.citations.append(citation)
        self.announce(journal.MESSAGE_CITATION, step, **citation)

    def restart(self, step: Step, *, reason: str) -> None:
        """Begin a step again, and say why: what it said before is void."""
        if step.kind == MODEL and "text_start" in step.input:
            start = step.input["text_start"]
            self.text = self.text[:start]
            self.citations = [citation for citation in self.citations if citation["answer_start"] < start]
        step.attempt += 1
        self.announce(journal.STEP_RESTARTED, step, reason=reason)
