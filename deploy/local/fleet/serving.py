"""All parts in one process, each on its own port, by the same code as in processes of their own."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Protocol, cast

import uvloop

from chassis.service import Service
from chassis.settings import load
from fleet.preparing import SETTINGS
from gateway.server import Gateway
from gateway.settings import GatewaySettings


class Part(Protocol):
    """A service or the gateway."""

    async def start(self) -> int:
        """Begin to serve; returns the port."""
        ...

    async def stop(self) -> None:
        """Finish what is in flight and end."""
        ...


async def serve() -> None:
    """Run every part until SIGTERM or SIGINT, then drain: the gateway first, then the services together."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    services = build_services()
    gateway: Part = Gateway(load(GatewaySettings))
    await asyncio.gather(*(service.start() for service in services))
    await gateway.start()
    await ended.wait()
    await gateway.stop()
    await asyncio.gather(*(service.stop() for service in services))


def build_services() -> Sequence[Part]:
    """Wire every service by its own main.py."""
    return [_builder(name)(load(settings_class)) for name, settings_class in SETTINGS.items()]


def _builder(name: str) -> Callable[[object], Service]:
    return cast("Mapping[str, Callable[[object], Service]]", vars(import_module(f"{name}.main")))["build"]


if __name__ == "__main__":
    uvloop.run(serve())
