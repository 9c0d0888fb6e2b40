"""Whether the gateway lives, whether the fleet behind it is ready, and what it counted."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from chassis.rpc.trust import RevocationWatch
from chassis.telemetry import METRICS_CONTENT_TYPE
from gateway.channels import Channels
from gateway.discovery import INCOMPATIBLE, Discovery
from gateway.metrics import Metrics


def router(channels: Channels, discovery: Discovery, watch: RevocationWatch, metrics: Metrics) -> APIRouter:
    """Return the routes /healthz, /readyz and /metrics."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/healthz")
    async def is_alive() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    @routes.get("/readyz")
    async def is_ready(require: Annotated[list[str] | None, Query()] = None) -> JSONResponse:
        """Answer 200 when every dependency is ready, or those that `require` names, else 503."""
        serving = await asyncio.gather(*(channels.is_serving(name) for name in channels.names))
        dependencies: dict[str, dict[str, str]] = {}
        for name, is_up in zip(channels.names, serving, strict=True):
            standing = discovery.standings[name]
            dependencies[name] = {"status": "ready" if is_up else "unavailable", "contract": standing.state}
            if standing.state == INCOMPATIBLE:
                dependencies[name] |= {"broken_rule": standing.broken_rule[:300], "offered": standing.version}
        dependencies["revocations"] = {"status": "ready" if watch.is_connected else "unavailable"}
        needed = require or list(dependencies)
        ready = all(dependencies.get(name, {}).get("status") == "ready" for name in needed)
        body = {"status": "ready" if ready else "unavailable", "dependencies": dependencies}
        return JSONResponse(body, status_code=200 if ready else 503)

    @routes.get("/metrics")
    async def show_metrics() -> Response:
        return Response(metrics.render(), media_type=METRICS_CONTENT_TYPE)

    return routes
