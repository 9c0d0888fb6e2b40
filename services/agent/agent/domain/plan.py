"""What a run does next, from what it has done."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.domain.definition import Definition, Limits
from agent.domain.errors import CostLimitReached, StepLimitReached, TokenLimitReached
from agent.domain.provider import ToolCall
from agent.domain.steps import MODEL, RETRIEVAL, Step, Usage


@dataclass(frozen=True)
class Retrieve:
    """Search the knowledge bases for the input."""


@dataclass(frozen=True)
class AskModel:
    """Ask the model, with everything that is known."""


@dataclass(frozen=True)
class CallTool:
    """Make a call that the model asked for."""

    call: ToolCall


@dataclass(frozen=True)
class TakeUp:
    """Take up a step that was begun and has no outcome."""

    step: Step


@dataclass(frozen=True)
class Complete:
    """Nothing is left to do: the last answer asked for no calls."""


Next = Retrieve | AskModel | CallTool | TakeUp | Complete


def next_of(definition: Definition, steps: Sequence[Step]) -> Next:
    """Say what follows the steps, which are in order and of which only the last may lack an outcome."""
    if not steps:
        return Retrieve() if definition.knowledge_base_ids else AskModel()
    last = steps[-1]
    if not last.is_recorded:
        return TakeUp(last)
    if last.kind == RETRIEVAL:
        return AskModel()
    return _after_answer(steps)


def _after_answer(steps: Sequence[Step]) -> Next:
    position = max(index for index, step in enumerate(steps) if step.kind == MODEL)
    calls = calls_of(steps[position])
    answered = len(steps) - position - 1
    if not calls:
        return Complete()
    return CallTool(calls[answered]) if answered < len(calls) else AskModel()


def calls_of(step: Step) -> list[ToolCall]:
    """Read the calls that a model step asked for."""
    return [ToolCall(**call) for call in step.output.get("tool_calls", ())]


def check_limits(limits: Limits, *, steps: int, usage: Usage) -> None:
    """Refuse another step when a limit is reached.

    Raises StepLimitReached, TokenLimitReached, CostLimitReached.
    """
    if steps >= limits.steps:
        raise StepLimitReached(max_steps=limits.steps)
    if limits.max_tokens and usage.input_tokens + usage.output_tokens >= limits.max_tokens:
        raise TokenLimitReached(max_tokens=limits.max_tokens)
    if limits.max_cost_nano_usd and usage.cost_nano_usd >= limits.max_cost_nano_usd:
        raise CostLimitReached(max_cost_nano_usd=limits.max_cost_nano_usd)
