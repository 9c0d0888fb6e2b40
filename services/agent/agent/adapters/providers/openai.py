"""OpenAI's chat completions, and every server that speaks the same protocol."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.adapters.providers.transport import transport_errors
from agent.domain.errors import ProviderRateLimited, ProviderRefused, ProviderUnauthenticated, ProviderUnavailable
from agent.domain.provider import (
    AssistantTurn,
    Finish,
    ModelRequest,
    Piece,
    ReasoningPiece,
    TextPiece,
    ToolRequest,
    ToolTurn,
    Turn,
)
from chassis.boundary import entering_network
from chassis.errors import FleetError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# Estimates for servers that report no usage: a token is about four characters.
_CHARACTERS_A_TOKEN = 4


@dataclass
class _Call:
    name: str = ""
    arguments: str = ""


class OpenAIProvider:
    """Streams chat completions from one base URL. The SDK is imported at the first question."""

    def __init__(self, *, api_key: str, base_url: str | None, timeout_seconds: float, is_openai: bool) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        # OpenAI's own models refuse `max_tokens`; most compatible servers know nothing else.
        self._limit_field = "max_completion_tokens" if is_openai else "max_tokens"
        self._opened: AsyncOpenAI | None = None

    def _client(self) -> "AsyncOpenAI":
        if self._opened is None:
            from openai import AsyncOpenAI

            self._opened = AsyncOpenAI(
                api_key=self._api_key or "none",
                base_url=self._base_url,
                timeout=self._timeout_seconds,
                max_retries=0,
            )
        return self._opened

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        from openai import OpenAIError

        entering_network("openai")
        failures: tuple[type[Exception], ...] = (OpenAIError, *transport_errors())
        try:
            opened = await self._client().chat.completions.create(**self._body(request))
            async with opened, aclosing(_pieces(opened, request)) as pieces:
                async for piece in pieces:
                    yield piece
        except failures as error:
            raise _as_fleet_error(error) from error

    async def list_models(self) -> list[str]:
        """Return the names of the server's models, sorted. Raises what `stream` raises."""
        from openai import OpenAIError

        entering_network("openai")
        try:
            return sorted([model.id async for model in self._client().models.list()])
        except OpenAIError as error:
            raise _as_fleet_error(error) from error

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        sampling = {"temperature": request.parameters.temperature, "top_p": request.parameters.top_p}
        return {
            "model": request.model,
            "messages": [{"role": "system", "content": request.system}, *map(_message, request.turns)],
            "stream": True,
            "stream_options": {"include_usage": True},
            self._limit_field: request.parameters.output_tokens,
            **{name: value for name, value in sampling.items() if value is not None},
            **({"tools": [_tool(tool) for tool in request.tools]} if request.tools else {}),
        }


def _tool(tool: Any) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.input_schema)}
    return {"type": "function", "function": function}


def _message(turn: Turn) -> dict[str, Any]:
    if isinstance(turn, ToolTurn):
        return {"role": "tool", "tool_call_id": turn.call_id, "content": turn.text}
    if not isinstance(turn, AssistantTurn):
        return {"role": "user", "content": turn.text}
    calls = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments or {})},
        }
        for call in turn.tool_calls
    ]
    return {"role": "assistant", "content": turn.text or None, **({"tool_calls": calls} if calls else {})}


async def _pieces(chunks: Any, request: ModelRequest) -> AsyncGenerator[Piece, None]:  # Any: the SDK's stream of chunks
    calls: dict[int, _Call] = {}
    usage, reason, written = None, None, 0
    async for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices[:1]:
            reason = choice.finish_reason or reason
            _collect(calls, choice.delta.tool_calls or ())
            if thought := getattr(choice.delta, "reasoning_content", None):
                yield ReasoningPiece(text=thought)
            if choice.delta.content:
                written += len(choice.delta.content)
                yield TextPiece(text=choice.delta.content)
    if reason is None:
        raise ProviderUnavailable  # the stream ended before the answer did
    for _, call in sorted(calls.items()):
        yield ToolRequest(name=call.name, arguments=arguments_of(call.arguments))
    if usage is not None:
        yield Finish(input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, reason=reason)
    else:
        yield Finish(
            input_tokens=_estimated_input(request), output_tokens=-(-written // _CHARACTERS_A_TOKEN), reason=reason
        )


def _collect(calls: dict[int, _Call], deltas: Sequence[Any]) -> None:
    for delta in deltas:
        call = calls.setdefault(delta.index, _Call())
        if delta.function is not None:
            call.name += delta.function.name or ""
            call.arguments += delta.function.arguments or ""


def arguments_of(text: str) -> Mapping[str, Any] | None:
    """Read a call's arguments; None when they are no JSON object."""
    try:
        read = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _estimated_input(request: ModelRequest) -> int:
    characters = len(request.system) + sum(len(turn.text) for turn in request.turns)
    return -(-characters // _CHARACTERS_A_TOKEN)


def _as_fleet_error(error: Exception) -> FleetError:
    return error_of_status(getattr(error, "status_code", None))


def error_of_status(status: int | None) -> FleetError:
    """Say what an HTTP status of a provider means for a run; None means that there was no answer."""
    if status in (401, 403):
        return ProviderUnauthenticated()
    if status == 429:
        return ProviderRateLimited()
    if status is not None and 400 <= status < 500 and status not in (408, 409):
        return ProviderRefused(status=status)
    return ProviderUnavailable()
