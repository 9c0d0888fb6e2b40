"""What the conversation service asks of the agent service."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from conversation.domain.history import Turn


@dataclass(frozen=True)
class RunRequest:
    """One run to start; exactly one of `agent_id` and `model` is given."""

    run_id: UUID
    message_id: UUID
    conversation_id: UUID
    agent_id: UUID | None
    model: str
    history: Sequence[Turn]
    input: str


@dataclass(frozen=True)
class RunOutcome:
    """What a run has come to: a state of domain.states, and what was said up to now."""

    state: str
    text: str = ""
    # definable.agent.v1.Citation in JSON.
    citations: Sequence[dict[str, Any]] = field(default=())
    error_reason: str = ""


class Agent(Protocol):
    """The agent service. Each call has a deadline and raises DependencyUnavailable when it cannot be reached."""

    async def start_run(self, request: RunRequest) -> None:
        """Start a run, or do nothing when it was started before. Raises agent's own errors when it cannot be run."""

    async def cancel_run(self, run_id: UUID) -> None:
        """Cancel a run; one that is unknown or has ended is left alone."""

    async def run_outcome(self, run_id: UUID) -> RunOutcome | None:
        """Return what a run has come to, or None when agent does not know it."""
