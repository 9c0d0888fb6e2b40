"""Fixtures for the tests of a service: `pytest_plugins = ["chassis.testing.plugin"]` in its conftest.

Servers and authority start when a test first asks for them, and are shared by the session. `start_service` and
`serve_fake` are functions of `chassis.testing`; they are fixtures, too, for tests that like it so.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chassis.servers import EmbeddedNats, EmbeddedPostgres, EmbeddedS3
from chassis.testing.servers import SERVERS


@pytest.fixture(scope="session")
def postgres() -> EmbeddedPostgres:
    """The session's Postgres."""
    return SERVERS.postgres


@pytest.fixture(scope="session")
def nats() -> EmbeddedNats:
    """The session's NATS."""
    return SERVERS.nats


@pytest.fixture(scope="session")
def s3() -> EmbeddedS3:
    """The session's S3 store."""
    return SERVERS.s3


@pytest.fixture(scope="session", autouse=True)
def _servers() -> Iterator[None]:
    yield
    SERVERS.stop()
