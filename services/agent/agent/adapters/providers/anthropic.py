"""Anthropic's messages."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.adapters.providers.openai import arguments_of, error_of_status
from agent.adapters.providers.transport import transport_errors
from agent.domain.definition import Parameters
from agent.domain.errors import ProviderUnavailable
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

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic


@dataclass
class _Call:
    name: str
    arguments: str = ""


class AnthropicProvider:
    """Streams messages. The SDK, a second of imports, is imported at the first question."""

    def __init__(self, *, api_key: str, base_url: str | None, timeout_seconds: float) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._opened: AsyncAnthropic | None = None

    def _client(self) -> "AsyncAnthropic":
        if self._opened is None:
            from anthropic import AsyncAnthropic

            self._opened = AsyncAnthropic(
                api_key=self._api_key, base_url=self._base_url, timeout=self._timeout_seconds, max_retries=0
            )
        return self._opened

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        from anthropic import AnthropicError

        entering_network("anthropic")
        failures: tuple[type[Exception], ...] = (AnthropicError, *transport_errors())
        try:
            opened = await self._client().messages.create(**_body(request))
            async with opened, aclosing(_pieces(opened)) as pieces:
                async for piece in pieces:
                    yield piece
        except failures as error:
            raise error_of_status(_status(error)) from error


def _status(error: Exception) -> int | None:
    """Return the status of a refusal; an error inside a stream has none and counts as an outage."""
    status = getattr(error, "status_code", None)
    return status if status != 200 else None


def _body(request: ModelRequest) -> dict[str, Any]:
    return {
        "model": request.model,
        "system": request.system,
        "messages": messages_of(request.turns),
        "max_tokens": request.parameters.output_tokens,
        "stream": True,
        # Newer models do not sample by parameters and the SDK has dropped them; the older ones still read them.
        "extra_body": _sampling(request.parameters),
        **({"tools": [_tool(tool) for tool in request.tools]} if request.tools else {}),
    }


def _sampling(parameters: Parameters) -> dict[str, float]:
    """Return what was set; Anthropic's scale of temperatures ends at 1."""
    temperature = None if parameters.temperature is None else min(parameters.temperature, 1.0)
    return {
        name: value for name, value in (("temperature", temperature), ("top_p", parameters.top_p)) if value is not None
    }


def _tool(tool: Any) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": dict(tool.input_schema)}


def messages_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Write turns as messages that alternate: neighbours of one role are joined, and nothing is empty."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        role = "assistant" if isinstance(turn, AssistantTurn) else "user"
        blocks = _blocks(turn)
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"].extend(blocks)
        elif blocks:
            messages.append({"role": role, "content": blocks})
    return messages


def _blocks(turn: Turn) -> list[dict[str, Any]]:
    if isinstance(turn, ToolTurn):
        result = {"type": "tool_result", "tool_use_id": turn.call_id, "is_error": turn.is_error}
        return [{**result, **({"content": turn.text} if turn.text else {})}]
    texts = [{"type": "text", "text": turn.text}] if turn.text.strip() else []
    if not isinstance(turn, AssistantTurn):
        return texts
    calls = [
        {"type": "tool_use", "id": call.call_id, "name": call.name, "input": dict(call.arguments or {})}
        for call in turn.tool_calls
    ]
    return [*texts, *calls]


async def _pieces(events: Any) -> AsyncGenerator[Piece, None]:  # noqa: C901 - one branch a kind of event; Any: SDK's
    calls: dict[int, _Call] = {}
    input_tokens = output_tokens = 0
    reason, stopped = "stop", False
    async for event in events:
        if event.type == "message_start":
            input_tokens = _input_tokens(event.message.usage)
        elif event.type == "content_block_start" and event.content_block.type == "tool_use":
            calls[event.index] = _Call(name=event.content_block.name)
        elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
            calls[event.index].arguments += event.delta.partial_json
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            yield TextPiece(text=event.delta.text)
        elif event.type == "content_block_delta" and event.delta.type == "thinking_delta":
            yield ReasoningPiece(text=event.delta.thinking)
        elif event.type == "message_delta":
            output_tokens, reason = event.usage.output_tokens, event.delta.stop_reason or reason
        elif event.type == "message_stop":
            stopped = True
    if not stopped:
        raise ProviderUnavailable
    for _, call in sorted(calls.items()):
        yield ToolRequest(name=call.name, arguments=arguments_of(call.arguments))
    yield Finish(input_tokens=input_tokens, output_tokens=output_tokens, reason=reason)


def _input_tokens(usage: Any) -> int:
    cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
    return int(usage.input_tokens) + cached
