"""What a test session shares: the authority, and functions that start services against its servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from chassis.service import Service
from chassis.settings import ServiceSettings
from chassis.testing.authority import Authority
from chassis.testing.servers import SERVERS
from chassis.testing.services import InProcessService, serve_fake_at, start_service_at

Settings = TypeVar("Settings", bound=ServiceSettings)

_authorities: list[Authority] = []


async def session_authority() -> Authority:
    """Return the session's authority, started when first asked for."""
    if not _authorities:
        authority = Authority(SERVERS.folder / "authority")
        await authority.start()
        _authorities.append(authority)
    return _authorities[0]


async def stop_authority() -> None:
    """End the session's authority."""
    while _authorities:
        await _authorities.pop().stop()


@asynccontextmanager
async def start_service(
    name: str,
    settings_class: type[Settings],
    build: Callable[[Settings], Service],
    *,
    peers: Mapping[str, str] | None = None,
    **overrides: Any,  # Any: settings of whatever type
) -> AsyncIterator[InProcessService]:
    """Start a service in this process, with a fresh database on the session's servers, and stop it after the block.

    `peers` are addresses of what it calls (see `serve_fake`); auth is the session's authority unless given. Overrides
    are settings: `storage=storage_settings()`, say.
    """
    authority = await session_authority()
    async with start_service_at(authority, name, settings_class, build, peers=peers, **overrides) as service:
        yield service


@asynccontextmanager
async def serve_fake(*servicers: object, name: str = "fake") -> AsyncIterator[str]:
    """Serve stand-ins for a peer over real gRPC, with the fleet's interceptors, and give their host:port."""
    async with serve_fake_at(await session_authority(), *servicers, name=name) as address:
        yield address


StartService = Callable[..., AbstractAsyncContextManager[InProcessService]]
