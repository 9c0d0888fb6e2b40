"""A kb service on real servers, shared by the session; each test has organizations of its own."""

from collections.abc import AsyncIterator

import pytest

from chassis.testing import start_service, storage_settings
from kb.main import build
from kb.settings import KbSettings

from .running import Kb  # noqa: TID252 - tests are installed nowhere, so they have no other name


@pytest.fixture(scope="session")
async def kb() -> AsyncIterator[Kb]:
    uploads = {"size_bytes": 4 * 1024 * 1024}
    parsing = {"cpu_seconds": 5, "timeout": 10, "memory_bytes": 512 * 1024 * 1024}
    async with start_service(
        "kb", KbSettings, build, storage=storage_settings(), uploads=uploads, parsing=parsing
    ) as service:
        yield Kb(service)
