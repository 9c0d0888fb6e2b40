"""Steps of a run: what was intended, what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RETRIEVAL, MODEL, TOOL = "retrieval", "model", "tool"
RUNNING, WAITING, SUCCEEDED, FAILED, CANCELLED = "running", "waiting", "succeeded", "failed", "cancelled"
PURE, IDEMPOTENT, AT_MOST_ONCE = "pure", "idempotent", "at_most_once"
APPROVED, DENIED = "approved", "denied"
APPROVAL, OUTCOME_UNKNOWN = "approval", "outcome_unknown"


@dataclass(kw_only=True)
class Usage:
    """Tokens and their price in billionths of a US dollar."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0

    def add(self, other: "Usage") -> None:
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cost_nano_usd += other.cost_nano_usd

    def as_json(self) -> dict[str, int]:
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_nano_usd": self.cost_nano_usd,
        }


@dataclass(kw_only=True)
class Step:
    """One step. `input` is recorded before it is taken, `output` after; what they hold depends on the kind.

    retrieval: {query} → {hits}; model: {} → {text, text_start, tool_calls, citations, finish_reason};
    tool: {tool_id, version, arguments, effect, …} → {text, is_error, error_reason, hits}.
    """

    step: int
    kind: str
    name: str
    attempt: int = 1
    state: str = RUNNING
    call_id: str = ""
    input: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    # What the step waits for, and what a person said.
    question: str = ""
    decision: str = ""
    error_reason: str = ""

    @property
    def is_recorded(self) -> bool:
        """Whether the outcome is known, so that the step is never taken again."""
        return self.state == SUCCEEDED

    @property
    def place(self) -> Mapping[str, int]:
        """What every event of the step carries."""
        return {"step": self.step, "attempt": self.attempt}
