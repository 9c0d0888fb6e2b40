"""What the gateway is made of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, cast

import orjson
from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from chassis.rpc.client import Peers
from chassis.rpc.descriptors import packaged
from gateway import middleware
from gateway.authentication import Authenticator
from gateway.channels import Channels
from gateway.discovery import INCOMPATIBLE, Discovery
from gateway.errors import MethodNotAllowed, RouteNotFound
from gateway.exposure import Exposure, Stubs
from gateway.limits import RateLimiter
from gateway.metrics import Metrics
from gateway.middleware import App
from gateway.openapi import describe
from gateway.operations import Table
from gateway.problems import from_error
from gateway.routers import health
from gateway.routers.streaming import EventStreams
from gateway.routers.transfers import Transfers
from gateway.settings import GatewaySettings

_EXPOSED_HEADERS = (
    "Content-Disposition", "Content-Location", "ETag", "Idempotent-Replayed", "Location", "RateLimit-Limit",
    "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "X-Request-Id", "X-Run-Id",
)  # fmt: skip


class Parts:
    """The parts of a running gateway, wired. `table` replaces the packaged contracts in tests."""

    def __init__(self, settings: GatewaySettings, table: Table | None = None) -> None:
        self.settings = settings
        self.peers = Peers(settings)
        self.channels = Channels(self.peers.channels)
        self.metrics = Metrics()
        self.authenticator = Authenticator(self.peers)
        self.exposure = Exposure(
            table or Table(packaged()),
            stubs=Stubs(self.channels),
            authenticator=self.authenticator,
            limiter=RateLimiter(),
            settings=settings,
        )
        self.streams = EventStreams(self.exposure, settings.streams, limit=settings.limits.streams)
        self.transfers = Transfers(self.exposure, settings)
        self.discovery = Discovery(self.channels, self.exposure, interval_seconds=settings.discovery_seconds)
        for name in self.channels.names:
            self.metrics.watch_contract(name, partial(self._is_refused, name))

    def _is_refused(self, service: str) -> float:
        return self.discovery.standings[service].state == INCOMPATIBLE

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch revocations and contracts until the end of the block, then let go of everything."""
        stop = asyncio.Event()
        watching = asyncio.create_task(self.authenticator.watch.run(stop))
        discovering = asyncio.create_task(self.discovery.run())
        try:
            yield
        finally:
            stop.set()
            discovering.cancel()
            await asyncio.gather(watching, discovering, return_exceptions=True)
            await self.authenticator.close()
            await self.peers.close()


def create_app(parts: Parts) -> App:
    """Return the ASGI application: what every request passes, then the contracts' routes, then FastAPI's."""
    settings, metrics = parts.settings, parts.metrics
    app: App = middleware.Routes(_by_hand(parts), exposure=parts.exposure)
    app = middleware.BodyLimits(app, limits=settings.limits)
    app = middleware.InFlight(app, metrics=metrics, limit=settings.limits.in_flight)
    if settings.cors.origins:
        app = _with_cors(app, settings)
    app = middleware.SecurityHeaders(app, strict_transport=settings.strict_transport)
    return middleware.RequestContext(app, metrics=metrics, settings=settings)


def _with_cors(app: App, settings: GatewaySettings) -> App:
    cors: Any = CORSMiddleware(
        app,
        allow_origins=settings.cors.origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=_EXPOSED_HEADERS,
        max_age=3600,
    )
    return cast("App", cors)


def _by_hand(parts: Parts) -> App:
    """Return what is not in the contracts: documentation and health."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with parts.running():
            yield

    app: FastAPI = FastAPIOffline(title="Definable", version=version("definable-gateway"), lifespan=lifespan)
    app.router.redirect_slashes = False
    _serve_description(app, parts)
    app.include_router(health.router(parts.channels, parts.discovery, parts.authenticator.watch, parts.metrics))
    app.add_exception_handler(HTTPException, _refuse)
    return cast("App", app)


def _serve_description(app: FastAPI, parts: Parts) -> None:
    """Serve openapi.json of the current table, rendered once for each."""
    rendered: dict[int, bytes] = {}
    app.router.routes = [route for route in app.router.routes if getattr(route, "path", "") != app.openapi_url]

    @app.get("/openapi.json", include_in_schema=False)
    async def show_description() -> Response:
        table = parts.exposure.table
        if id(table) not in rendered:
            rendered.clear()
            rendered[id(table)] = orjson.dumps(describe(table, version=app.version))
        return Response(rendered[id(table)], media_type="application/json")


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer what FastAPI's own routing refuses."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    allow = (getattr(error, "headers", None) or {}).get("Allow", "GET")
    problem = from_error(MethodNotAllowed(allow=allow) if status == 405 else RouteNotFound())
    body = problem.render(request_id=request.scope["state"]["request_id"], instance=request.url.path)
    headers = {name.decode(): value.decode() for name, value in problem.headers()}
    return Response(body, status_code=problem.status, headers=headers)
