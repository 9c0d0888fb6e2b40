"""Fixtures of the tool service's tests: the service on real servers, and an HTTP server for its tools to call."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from chassis.testing import InProcessService, start_service
from tool.main import build
from tool.settings import ToolSettings

pytest_plugins = ["chassis.testing.plugin"]


@dataclass
class Upstream:
    """An HTTP server that keeps what it was asked and answers with what it was asked. Paths choose how, or `answers`
    says what.
    """

    url: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        self.requests.append({**headers, ":method": method, ":path": path, ":body": body})
        if path.startswith("/slow"):
            await asyncio.sleep(5)
        status = "500 Broken" if path.startswith("/broken") else "200 OK"
        kind, answer = "application/json", json.dumps({"method": method, "path": path, "body": body})
        if path.startswith("/large"):
            answer = json.dumps("x" * 100_000)
        if path.startswith("/page"):
            kind, answer = (
                "text/html",
                "<html><head><title>Page</title></head><body><p>Seen by readers.</p></body></html>",
            )
        content = self.answers.get(path, answer).encode()
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n".encode())
        writer.write(content)
        await writer.drain()
        writer.close()


@pytest.fixture(scope="session")
async def upstream() -> AsyncIterator[Upstream]:
    """Another side for HTTP tools."""
    other = Upstream()
    server = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    other.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield other
    server.close()


@pytest.fixture(scope="session")
async def service() -> AsyncIterator[InProcessService]:
    """The tool service, which may reach this machine."""
    async with start_service("tool", ToolSettings, build, allowed_private_addresses=["127.0.0.0/8"]) as running:
        yield running
