"""A running gateway with a library behind it, and clients that call it over real sockets."""

import importlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from chassis.rpc.caller import Caller
from chassis.settings import KeySettings
from chassis.testing.authority import Authority

# Pytest names this module after its folders, "gateway.tests.conftest", and so takes the distribution's folder for the
# package of that name. The package has to be there instead.
if getattr(sys.modules.get("gateway"), "__file__", None) is None:
    sys.modules.pop("gateway", None)
    importlib.import_module("gateway")

from gateway.app import Parts
from gateway.server import Gateway
from gateway.settings import GatewaySettings

from .library import Library, library_table  # noqa: TID252  # tests are installed nowhere

pytest_plugins = ["chassis.testing.plugin"]


class Front:
    """A gateway under test."""

    def __init__(self, gateway: Gateway, port: int, library: Library, authority: Authority) -> None:
        self.gateway = gateway
        self.parts = gateway.parts
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.library = library
        self.authority = authority

    def client(self, caller: Caller | None = None, **options: Any) -> httpx.AsyncClient:
        """Return a client that sends the credential of a caller, none for None."""
        headers = {"Authorization": f"Bearer {self.authority.credential(caller)}"} if caller else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20, **options)


StartFront = Callable[..., Any]


@asynccontextmanager
async def start_front(authority: Authority, **overrides: Any) -> AsyncIterator[Front]:
    """Start a library and a gateway before it."""
    library = Library(library_table())
    address = await library.start()
    settings = GatewaySettings(
        listen="127.0.0.1:0",
        peers={"auth": authority.address, "library": address},
        keys=KeySettings(private_key_file=authority.key_file("gateway")),
        drain_seconds=2,
        **overrides,
    )
    gateway = Gateway(settings, Parts(settings, library_table()))
    port = await gateway.start()
    try:
        yield Front(gateway, port, library, authority)
    finally:
        await gateway.stop()
        await library.stop()


@pytest.fixture(scope="session")
def fronts(authority: Authority) -> StartFront:
    """Return a function that starts a gateway with other settings than usual, as a context manager."""
    return lambda **overrides: start_front(authority, **overrides)


@pytest.fixture
async def front(authority: Authority) -> AsyncIterator[Front]:
    """A gateway and a library of their own."""
    async with start_front(authority) as started:
        yield started


@pytest.fixture
async def client(front: Front, owner: Caller) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an owner."""
    async with front.client(owner) as opened:
        yield opened
