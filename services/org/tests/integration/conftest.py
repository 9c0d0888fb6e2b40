"""org, started once for all integration tests, and once more with a broker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.settings import NatsSettings
from chassis.testing import Authority, nats_settings
from chassis.testing.services import start_service_at
from org.main import build
from org.settings import OrgSettings

from .running import Directory, Org  # noqa: TID252


@pytest.fixture(scope="session")
async def org(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Org]:
    """Org without a broker: its own events wait in the outbox, so feeds hold what a test puts there."""
    async for running in _running(tmp_path_factory.mktemp("authority"), nats=NatsSettings()):
        yield running


@pytest.fixture(scope="session")
async def org_on_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Org]:
    """Org with the session's broker: it hears its own events, and those of whoever publishes there."""
    async for running in _running(tmp_path_factory.mktemp("authority"), nats=nats_settings()):
        yield running


async def _running(folder: Path, *, nats: NatsSettings) -> AsyncIterator[Org]:
    directory, authority = Directory(), Authority(folder)
    await authority.start(directory)
    async with start_service_at(authority, "org", OrgSettings, build, nats=nats) as service:
        await service.service.until_ready()
        yield Org(service, directory)
    await authority.stop()
