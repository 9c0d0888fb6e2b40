"""The whole fleet on free ports and in a temporary folder, started once for all tests of this folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.demo.client import Client
from fleet.launcher import Fleet
from fleet.settings import Ports
from tests.e2e.scene import Scene


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A running fleet: a new one, or the one whose data folder E2E_FLEET names, which is left running."""
    if folder := os.environ.get("E2E_FLEET"):
        yield Fleet(Path(folder), ports=Ports.kept_in(Path(folder) / "ports.json"))
        return
    running = Fleet(tmp_path_factory.mktemp("fleet"), ports=Ports.free(), durable=False)
    try:
        running.start()
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="session")
def anonymous(fleet: Fleet) -> Iterator[Client]:
    """A client of that fleet without a credential."""
    with Client(fleet.url) as client:
        yield client


@pytest.fixture(scope="session")
def scene(fleet: Fleet, anonymous: Client) -> Iterator[Scene]:
    """The organization that calls are made in. Whoever changes or uses up one of its resources makes another first."""
    built = Scene(fleet, anonymous).build()
    yield built
    built.close()
