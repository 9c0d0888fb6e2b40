"""The HTTP side of a process that speaks gRPC otherwise: /metrics, /healthz and /readyz, for those who run it.

A server of forty lines and not a framework: it answers GET without a body, one request a connection.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

from chassis import telemetry

Readiness = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns what is amiss, by dependency; empty when the process is ready."""

_LONGEST_REQUEST = 8192
_SECONDS_FOR_A_REQUEST = 5.0


class Probes:
    """Answers the probes of one process."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._server: asyncio.Server | None = None

    async def start(self, address: str) -> int:
        """Listen on host:port; returns the port. Raises OSError."""
        host, _, port = address.rpartition(":")
        self._server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=_LONGEST_REQUEST)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS_FOR_A_REQUEST):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(head.split(b"\r\n", 1)[0].decode("latin-1"))
                writer.write(
                    f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
                    "connection: close\r\ncache-control: no-store\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked is gone, or never asked anything
        finally:
            writer.close()

    async def _answer(self, request_line: str) -> tuple[str, str, bytes]:
        match request_line.split(" ")[:2]:
            case ["GET", "/metrics"]:
                return "200 OK", telemetry.METRICS_CONTENT_TYPE, telemetry.metrics_text()
            case ["GET", "/healthz"]:
                return "200 OK", "application/json", b'{"status":"alive"}'
            case ["GET", "/readyz"]:
                amiss = await self._readiness()
                status = "503 Service Unavailable" if amiss else "200 OK"
                answer = {"status": "not ready" if amiss else "ready", "amiss": dict(amiss)}
                return status, "application/json", json.dumps(answer).encode()
            case _:
                return "404 Not Found", "text/plain", b"not found\n"
