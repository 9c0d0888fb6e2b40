"""What an agent is made of, and what is wrong with it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from agent.domain import ids
from chassis.errors import FleetError, Violation

DEFAULT_STEPS = 50
DEFAULT_TOP_K = 8
DEFAULT_OUTPUT_TOKENS = 4096
DEFAULT_DURATION = timedelta(minutes=15)
LONGEST_DURATION = timedelta(hours=1)
SHORTEST_DURATION = timedelta(seconds=1)

ALLOW, ASK, DENY = "allow", "ask", "deny"


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How a model samples; None leaves it to the provider, 0 output tokens means DEFAULT_OUTPUT_TOKENS."""

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int = 0

    @property
    def output_tokens(self) -> int:
        return self.max_output_tokens or DEFAULT_OUTPUT_TOKENS


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """How knowledge is searched: mode is "", "dense", "lexical" or "hybrid"; 0 passages means DEFAULT_TOP_K."""

    mode: str = ""
    top_k: int = 0

    @property
    def passages(self) -> int:
        return self.top_k or DEFAULT_TOP_K


@dataclass(frozen=True, kw_only=True)
class ToolGrant:
    """A tool that the model may call; policy is "" (the tool's own), "allow", "ask" or "deny"."""

    tool_id: str
    policy: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a run is stopped; 0 means the default, which for tokens and cost is no limit."""

    max_steps: int = 0
    max_tokens: int = 0
    max_cost_nano_usd: int = 0
    max_duration_seconds: float = 0

    @property
    def steps(self) -> int:
        return self.max_steps or DEFAULT_STEPS

    @property
    def duration(self) -> timedelta:
        return timedelta(seconds=self.max_duration_seconds) if self.max_duration_seconds else DEFAULT_DURATION


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What an agent is made of, as stored in drafts, versions and runs."""

    instructions: str = ""
    model: str = ""
    parameters: Parameters = field(default_factory=Parameters)
    knowledge_base_ids: tuple[str, ...] = ()
    retrieval: Retrieval = field(default_factory=Retrieval)
    tools: tuple[ToolGrant, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def as_json(self) -> dict[str, Any]:
        """Return what from_json reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what as_json returned."""
        return cls(
            instructions=stored.get("instructions", ""),
            model=stored.get("model", ""),
            parameters=Parameters(**stored.get("parameters", {})),
            knowledge_base_ids=tuple(stored.get("knowledge_base_ids", ())),
            retrieval=Retrieval(**stored.get("retrieval", {})),
            tools=tuple(ToolGrant(**tool) for tool in stored.get("tools", ())),
            limits=Limits(**stored.get("limits", {})),
        )

    @property
    def callable_tools(self) -> tuple[ToolGrant, ...]:
        return tuple(tool for tool in self.tools if tool.policy != DENY)


def violations_of(definition: Definition) -> list[Violation]:
    """List what is wrong whoever is asked: ids of a wrong kind, repetitions, durations out of range."""
    return [*_wrong_ids(definition), *_repetitions(definition), *_wrong_durations(definition.limits)]


def _wrong_ids(definition: Definition) -> Iterator[Violation]:
    for position, base in enumerate(definition.knowledge_base_ids):
        yield from _checked(ids.KNOWLEDGE_BASE.parse, base, f"definition.knowledge_base_ids[{position}]")
    for position, tool in enumerate(definition.tools):
        yield from _checked(ids.TOOL.parse, tool.tool_id, f"definition.tools[{position}].tool_id")


def _checked(parse: Callable[[str], UUID], text: str, where: str) -> Iterator[Violation]:
    try:
        parse(text)
    except FleetError:
        yield Violation(field=where, description="is not an id of this kind", rule="id")


def _repetitions(definition: Definition) -> Iterator[Violation]:
    counted = {
        "definition.knowledge_base_ids": Counter(definition.knowledge_base_ids),
        "definition.tools": Counter(tool.tool_id for tool in definition.tools),
    }
    for where, counts in counted.items():
        if any(count > 1 for count in counts.values()):
            yield Violation(field=where, description="names something twice", rule="unique")


def _wrong_durations(limits: Limits) -> Iterator[Violation]:
    if limits.max_duration_seconds and not SHORTEST_DURATION <= limits.duration <= LONGEST_DURATION:
        yield Violation(
            field="definition.limits.max_duration", description="must be from 1 second to 1 hour", rule="duration"
        )
