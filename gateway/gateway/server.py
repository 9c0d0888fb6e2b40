"""The HTTP server: uvicorn with the deadlines and limits that it lacks, held before the application is called."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from chassis import telemetry
from gateway.app import Parts, create_app
from gateway.errors import HeadersTooLarge, HeadersTooSlow, MalformedRequest, UrlTooLong
from gateway.problems import Problem, from_error
from gateway.settings import GatewaySettings, LimitSettings

_KEEP_ALIVE_SECONDS: Final = 30
_LINGER_SECONDS: Final = 1.0
_CUT_LINE_BYTES: Final = 1024  # for the rest of the request line, and for what is between headers


class LimitedProtocol(HttpToolsProtocol):
    """Refuses requests whose URL or headers are too large, and connections that don't finish their headers in time.

    Whenever no request is being answered a timer runs that data does not reset; only whole headers stop it.
    """

    limits: LimitSettings

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_timer: asyncio.TimerHandle | None = None
        self._bytes_before_body = 0
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._is_waiting():
            self._start_timer()
            self._bytes_before_body += len(data)
        super().data_received(data)
        most = self.limits.header_bytes + self.limits.url_bytes + _CUT_LINE_BYTES
        if self._is_waiting() and self._bytes_before_body > most and not self._is_refused:
            self._refuse(from_error(HeadersTooLarge(limit_bytes=self.limits.header_bytes)))

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.limits.url_bytes and not self._is_refused:
            self._refuse(from_error(UrlTooLong(limit_bytes=self.limits.url_bytes)))

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._bytes_before_body = 0
        size = sum(len(name) + len(value) for name, value in self.headers)
        if size > self.limits.header_bytes and not self._is_refused:
            self._refuse(from_error(HeadersTooLarge(limit_bytes=self.limits.header_bytes)))
        if not self._is_refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP. uvicorn calls this."""
        if not self._is_refused:
            self._refuse(from_error(MalformedRequest()))

    def _is_waiting(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever uvicorn's types say
        return cycle is None or cycle.response_complete

    def _start_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.limits.header_timeout_seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _give_up(self) -> None:
        self._header_timer = None
        if not self._is_waiting() or self.transport.is_closing():
            return
        if self._bytes_before_body:
            self._refuse(from_error(HeadersTooSlow()))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer before there is a request to answer, and close."""
        self._is_refused = True
        self._stop_timer()
        request_id = uuid4().hex
        body = problem.render(request_id=request_id, instance="")
        headers = [
            *problem.headers(),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[problem.status] + lines + b"\r\n" + body)
        # Closing while data arrives would reset the connection, and the client might never read the answer.
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._header_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
        else:
            self.transport.close()


class Gateway:
    """A gateway that can be started and stopped, alone in its process or beside services."""

    def __init__(self, settings: GatewaySettings, parts: Parts | None = None) -> None:
        self.name = settings.name
        self.settings = settings
        self.parts = parts or Parts(settings)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Begin to serve; returns the port. Raises OSError when the address is taken, ValueError without a key."""
        self.parts.peers.assertion()
        listener = _bind(self.settings.listen)
        self._server = _Server(_configuration(self.settings, self.parts), self.parts)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            if self._serving.done():
                await self._serving
                raise RuntimeError("the HTTP server ended while it started")
            await asyncio.sleep(0.005)
        return int(listener.getsockname()[1])

    async def stop(self, grace: float | None = None) -> None:
        """Finish what is in flight, for at most `grace` seconds, and end."""
        if self._server is None or self._serving is None:
            return
        self._server.config.timeout_graceful_shutdown = int(self.settings.drain_seconds if grace is None else grace)
        self._server.should_exit = True
        await self._serving

    async def serve(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain."""
        server = _Server(_configuration(self.settings, self.parts), self.parts, handles_signals=True)
        self.parts.peers.assertion()
        await server.serve(sockets=[_bind(self.settings.listen)])


class _Server(uvicorn.Server):
    """Ends event streams when it is told to stop, and leaves signals alone unless it owns the process."""

    def __init__(self, config: uvicorn.Config, parts: Parts, *, handles_signals: bool = False) -> None:
        super().__init__(config)
        self._parts = parts
        self._handles_signals = handles_signals

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._parts.streams.end_all()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals() if self._handles_signals else contextlib.nullcontext():
            yield


def _configuration(settings: GatewaySettings, parts: Parts) -> uvicorn.Config:
    protocol = type("Protocol", (LimitedProtocol,), {"limits": settings.limits})
    return uvicorn.Config(
        create_app(parts),
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.drain_seconds),
        backlog=2048,
    )


def _bind(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, int(port)))
    listener.listen(2048)
    listener.setblocking(False)
    telemetry.get_logger(__name__).info("listening", address=f"{host}:{listener.getsockname()[1]}")
    return listener
