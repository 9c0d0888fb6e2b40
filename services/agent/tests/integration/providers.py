"""A server that speaks the protocols of OpenAI and Anthropic as a test tells it to."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from .running import Fleet, fleet  # noqa: TID252


@dataclass
class Scripted:
    """What the server does with the next request: frames with pauses, then the end, or a refusal."""

    frames: Sequence[str]
    status: int = 200
    pause_seconds: float = 0
    breaks_off: bool = False


@dataclass
class ModelServer:
    """A plain HTTP/1.1 server; answers in the order in which they were given, the last one again and again."""

    answers: list[Scripted] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    closed_early: asyncio.Event = field(default_factory=asyncio.Event)
    models: Sequence[str] = ("test",)
    url: str = ""

    def answer(self, text: str, *, input_tokens: int = 7, output_tokens: int = 5, **options: Any) -> None:
        """Answer as OpenAI does, a word at a time."""
        self.answers.append(Scripted(list(openai_text(text, input_tokens, output_tokens)), **options))

    def refuse(self, status: int) -> None:
        body = json.dumps({"error": {"message": "no", "type": "error", "code": None}})
        self.answers.append(Scripted([body], status=status))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.closed_early.set()
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split("\r\n")[0].split(" ")
        self.paths.append(path)
        if method == "GET":
            listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
            await self._write_json(writer, 200, json.dumps(listed))
            return
        length = next(
            int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length")
        )
        self.requests.append(json.loads(await reader.readexactly(length)))
        scripted = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if scripted.status != 200:
            await self._write_json(writer, scripted.status, scripted.frames[0])
        else:
            await self._stream(writer, scripted)

    async def _write_json(self, writer: asyncio.StreamWriter, status: int, body: str) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n{body}".encode())
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, scripted: Scripted) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for frame in scripted.frames:
            await asyncio.sleep(scripted.pause_seconds)
            if writer.is_closing():
                raise ConnectionResetError
            data = frame.encode()
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await writer.drain()
        if not scripted.breaks_off:
            writer.write(b"0\r\n\r\n")
            await writer.drain()


def openai_text(text: str, input_tokens: int, output_tokens: int, *, with_usage: bool = True) -> Iterator[str]:
    yield _chunk({"role": "assistant", "content": ""})
    for word in text.split(" "):
        yield _chunk({"content": f"{word} "})
    yield _chunk({}, finish="stop")
    if with_usage:
        total = input_tokens + output_tokens
        usage = {"prompt_tokens": input_tokens, "completion_tokens": output_tokens, "total_tokens": total}
        yield _chunk(None, usage=usage)
    yield "data: [DONE]\n\n"


def openai_calls(*calls: tuple[str, str]) -> Iterator[str]:
    """Ask for calls (name, arguments as text), the arguments cut into pieces."""
    for index, (name, arguments) in enumerate(calls):
        start = {
            "index": index,
            "id": f"call_x{index}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        yield _chunk({"tool_calls": [start]})
        for position in range(0, len(arguments), 4):
            piece = {"index": index, "function": {"arguments": arguments[position : position + 4]}}
            yield _chunk({"tool_calls": [piece]})
    yield _chunk({}, finish="tool_calls")
    yield _chunk(None, usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13})
    yield "data: [DONE]\n\n"


def _chunk(delta: dict[str, Any] | None, *, finish: str | None = None, usage: dict[str, int] | None = None) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "test", "choices": choices}
    return f"data: {json.dumps({**chunk, 'usage': usage})}\n\n"


def anthropic_events(*blocks: dict[str, Any], stop_reason: str = "end_turn") -> Iterator[str]:
    """Stream content blocks as Anthropic does, text by the word and inputs in pieces."""
    usage = {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 0}
    message: dict[str, Any] = {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": "test",
        "content": [],
        "stop_reason": None,
    }
    yield _event("message_start", message={**message, "stop_sequence": None, "usage": usage})
    for index, block in enumerate(blocks):
        yield from _block(index, block)
    yield _event("message_delta", delta={"stop_reason": stop_reason, "stop_sequence": None}, usage={"output_tokens": 6})
    yield _event("message_stop")


def _block(index: int, block: dict[str, Any]) -> Iterator[str]:
    if block["type"] == "text":
        yield _event("content_block_start", index=index, content_block={"type": "text", "text": ""})
        pieces = [{"type": "text_delta", "text": f"{word} "} for word in block["text"].split(" ")]
    else:
        yield _event("content_block_start", index=index, content_block={**block, "input": {}})
        text = json.dumps(block["input"])
        pieces = [
            {"type": "input_json_delta", "partial_json": text[position : position + 5]}
            for position in range(0, len(text), 5)
        ]
    for piece in pieces:
        yield _event("content_block_delta", index=index, delta=piece)
    yield _event("content_block_stop", index=index)


def _event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


@asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    """Serve a ModelServer on a free port."""
    served = ModelServer()
    server = await asyncio.start_server(served.handle, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()


@asynccontextmanager
async def paid_model() -> AsyncIterator[tuple[Fleet, ModelServer]]:
    """Start an agent service with a model that costs 2 and 3 nano-dollars a token, served by a ModelServer."""
    async with model_server() as server:
        model = {"name": "test", "input_nano_usd": 2, "output_nano_usd": 3}
        async with fleet(compatible={"base_url": f"{server.url}/v1", "models": [model]}) as agent:
            yield agent, server
