"""The port to chat models: what is asked, what streams back."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.domain.definition import Parameters
from agent.domain.passages import Passage


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A call that a model asked for. Arguments are None when the model wrote something that is no JSON object."""

    call_id: str
    name: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class UserTurn:
    """What the user said."""

    text: str


@dataclass(frozen=True, kw_only=True)
class AssistantTurn:
    """What the model said, and the calls that it asked for."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ToolTurn:
    """What a call gave back."""

    call_id: str
    name: str
    text: str
    is_error: bool = False


Turn = UserTurn | AssistantTurn | ToolTurn


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """A tool as a model is told of it."""

    name: str
    description: str
    input_schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """One question to a model. `passages` is for the offline model; the others read them in `system` and tool turns."""

    model: str
    system: str
    turns: Sequence[Turn]
    tools: Sequence[ToolSpec] = ()
    parameters: Parameters = field(default_factory=Parameters)
    passages: Sequence[Passage] = ()


@dataclass(frozen=True, kw_only=True)
class TextPiece:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ReasoningPiece:
    """A piece of what the model thinks aloud; no part of the answer."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ToolRequest:
    """A whole call that the model asks for. Arguments are None when they are no JSON object."""

    name: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The end of an answer, always the last piece. Tokens are the provider's count, or an estimate without one."""

    input_tokens: int
    output_tokens: int
    reason: str = "stop"


Piece = TextPiece | ReasoningPiece | ToolRequest | Finish


class ModelProvider(Protocol):
    """Something that serves chat models."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        """Stream the answer; closing the generator interrupts the provider at once.

        Raises ProviderRefused, ProviderUnauthenticated, ProviderRateLimited, ProviderUnavailable.
        """
        ...
