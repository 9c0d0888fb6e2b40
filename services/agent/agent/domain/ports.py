"""What a run needs from others: knowledge, tools, budget, and a bell."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from agent.domain.definition import Retrieval
from agent.domain.passages import Hit


@dataclass(frozen=True, kw_only=True)
class RunnableTool:
    """A tool pinned to a version. Effect is "pure", "idempotent" or "at_most_once"; policy "allow", "ask" or "deny"."""

    tool_id: str
    name: str
    description: str
    input_schema: Mapping[str, Any]
    effect: str
    policy: str
    version: int
    timeout: timedelta


@dataclass(frozen=True, kw_only=True)
class ToolOutcome:
    """What a tool gave back, as text for the model."""

    text: str
    is_error: bool = False
    error_reason: str = ""
    execution_id: str = ""


class Knowledge(Protocol):
    """Searches knowledge bases as the current actor."""

    async def search(self, *, knowledge_base_ids: Sequence[str], query: str, retrieval: Retrieval) -> list[Hit]:
        """Return the best passages, best first."""
        ...

    async def unknown(self, knowledge_base_ids: Sequence[str]) -> set[str]:
        """Return those of the ids that no knowledge base has."""
        ...


class Tools(Protocol):
    """Runs the organization's tools as the current actor."""

    async def describe(self, tool_ids: Sequence[str]) -> list[RunnableTool]:
        """Return the tools; those that are disabled are left out."""
        ...

    async def execute(
        self, *, tool_id: str, version: int, arguments: Mapping[str, Any], run_id: str, call_id: str, timeout: timedelta
    ) -> ToolOutcome:
        """Execute one call; the same run and call has its effect once."""
        ...


class Budget(Protocol):
    """Reserves money before it is spent."""

    async def reserve(
        self, *, reservation_id: UUID, principal: str, agent_id: str, amount_nano_usd: int, ttl: timedelta
    ) -> int:
        """Return what was granted, in billionths of a US dollar; 0 when the budget is spent."""
        ...

    async def settle(self, *, reservation_id: UUID, actual_nano_usd: int) -> None:
        """Say what a reservation was used for."""
        ...


@dataclass(frozen=True, kw_only=True)
class JournalEvent:
    """One event of a run's journal."""

    seq: int
    type: str
    data: Mapping[str, Any]
    time: datetime


class TailSubscription(Protocol):
    """The events of one run as they are announced."""

    @property
    def is_live(self) -> bool:
        """Whether announcements of all replicas arrive at present."""
        ...

    async def next(self, *, within: timedelta) -> Sequence[JournalEvent]:
        """Return the events of the next announcement; none when the time has passed or they were too large to carry."""
        ...


class Tail(Protocol):
    """Carries events to watchers and wakes workers. A message may be lost; tables are the truth."""

    async def announce(self, run_id: UUID, events: Sequence[JournalEvent]) -> None:
        """Tell watchers of a run, wherever they are."""
        ...

    def watch(self, run_id: UUID) -> AbstractAsyncContextManager[TailSubscription]:
        """Hear of a run's events from now on."""
        ...

    async def wake(self) -> None:
        """Tell workers that a run waits for one, or was asked to stop."""
        ...


class RunEngine(Protocol):
    """Executes runs that are recorded as wanted."""

    async def wake(self) -> None:
        """Look for work now: a run was accepted, resolved, or asked to stop."""
        ...
