"""What happens to every request, before anybody knows what it asks for. Pure ASGI, outermost first."""

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final
from uuid import uuid4

from chassis import telemetry
from gateway.bodies import BodyGuard
from gateway.errors import TooManyInFlight
from gateway.exchange import Exchange, Receive, Scope, Send
from gateway.exposure import Exposure
from gateway.metrics import Metrics
from gateway.problems import from_error
from gateway.settings import GatewaySettings, LimitSettings

App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = telemetry.get_logger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_ALWAYS_ANSWERED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_DOCUMENT_PATHS: Final = ("/docs", "/redoc")


class RequestContext:
    """Gives the request its id and client address, and is the edge: logs it, counts it, lets no exception through."""

    def __init__(self, app: App, *, metrics: Metrics, settings: GatewaySettings) -> None:
        self._app = app
        self._metrics = metrics
        self._trusted = settings.trusted_proxies
        self._logs_all = settings.access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        state = scope.setdefault("state", {})
        asked = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = state["request_id"] = asked if _REQUEST_ID.fullmatch(asked) else uuid4().hex
        state["client_address"] = client_address(scope, headers, self._trusted)
        started = time.perf_counter()
        status = 0

        async def send_noting(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except Exception as error:  # noqa: BLE001  # the edge: whatever it is, the client gets an answer and the log the cause
            _log.exception("request_failed", request_id=request_id)
            if not status:
                guard = BodyGuard(receive, headers, limit_bytes=0, idle_seconds=1)
                await Exchange(scope, guard, send_noting).refuse(from_error(error))
        finally:
            seconds = time.perf_counter() - started
            operation = state.get("operation", "other")
            self._metrics.observe(operation, scope["method"], status, seconds)
            if self._logs_all or status >= 500:
                _log.info("request", request_id=request_id, operation=operation, status=status, seconds=seconds)


def client_address(scope: Scope, headers: dict[bytes, bytes], trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Return where the client is: the connection's other end, or what trusted proxies say, nearest first."""
    address: str = (scope.get("client") or ("",))[0]
    forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
    while trusted and forwarded and _is_within(address, trusted):
        claimed = forwarded.pop().strip()
        if not _is_address(claimed):
            break
        address = claimed
    return address


def _is_within(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class SecurityHeaders:
    """Tells browsers to take nothing here for a page, but for the two that are."""

    def __init__(self, app: App, *, strict_transport: bool) -> None:
        self._app = app
        common = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
        if strict_transport:
            common.append((b"strict-transport-security", b"max-age=31536000; includeSubDomains"))
        self._api = [
            *common,
            (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
            (b"cache-control", b"no-store"),
        ]
        own = b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        more = (
            b"img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; frame-ancestors 'none'"
        )
        self._page = [*common, (b"content-security-policy", own + more)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added = self._page if scope["path"].startswith(_DOCUMENT_PATHS) else self._api

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class InFlight:
    """Refuses requests beyond those that can be answered at once; an open event stream gives its place back."""

    def __init__(self, app: App, *, metrics: Metrics, limit: int) -> None:
        self._app = app
        self._metrics = metrics
        self._limit = limit
        self._count = 0
        self._streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Whether the gateway lives and is ready must be seen when it is full, too.
        if self._count >= self._limit and scope["path"] not in _ALWAYS_ANSWERED:
            guard = BodyGuard(receive, dict(scope["headers"]), limit_bytes=0, idle_seconds=1)
            await Exchange(scope, guard, send).refuse(from_error(TooManyInFlight(retry_after=timedelta(seconds=1))))
            return
        is_stream = False
        self._count += 1

        async def send_counting(message: MutableMapping[str, Any]) -> None:
            nonlocal is_stream
            if message["type"] == "http.response.start" and _is_event_stream(message) and not is_stream:
                is_stream = True
                self._count -= 1
                self._streams += 1
                self._report()
            await send(message)

        self._report()
        try:
            await self._app(scope, receive, send_counting)
        finally:
            self._count -= not is_stream
            self._streams -= is_stream
            self._report()

    def _report(self) -> None:
        self._metrics.in_flight.set(self._count)
        self._metrics.streams.set(self._streams)


def _is_event_stream(message: MutableMapping[str, Any]) -> bool:
    return (b"content-type", b"text/event-stream") in message.get("headers", ())


class BodyLimits:
    """Puts a limit on the size of bodies and on pauses within them."""

    def __init__(self, app: App, *, limits: LimitSettings) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = BodyGuard(
                receive,
                dict(scope["headers"]),
                limit_bytes=self._limits.body_bytes,
                idle_seconds=self._limits.body_idle_seconds,
            )
        await self._app(scope, receive, send)


class Routes:
    """Answers what the contracts have routes for; the application below gets the rest."""

    def __init__(self, app: App, *, exposure: Exposure) -> None:
        self._app = app
        self._exposure = exposure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and await self._exposure.handle(scope, receive, send):
            return
        await self._app(scope, receive, send)
