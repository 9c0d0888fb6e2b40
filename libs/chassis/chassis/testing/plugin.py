"""Fixtures for the tests of a service: `pytest_plugins = ["chassis.testing.plugin"]` in its conftest.

Servers and authority start when a test first asks for them, and are shared by the session. `start_service` and
`serve_fake` are functions of `chassis.testing`; they are fixtures, too, for tests that like it so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from chassis.rpc.caller import Caller
from chassis.servers import EmbeddedNats, EmbeddedPostgres, EmbeddedS3
from chassis.testing import session
from chassis.testing.authority import Authority
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


@pytest.fixture(scope="session")
async def authority() -> AsyncIterator[Authority]:
    """The session's stand-in for auth, whose callers are the tests'."""
    yield await session.session_authority()
    await session.stop_authority()


@pytest.fixture
def owner(authority: Authority) -> Caller:
    """The owner of a new organization."""
    return authority.caller()


@pytest.fixture
def stranger(authority: Authority) -> Caller:
    """The owner of another new organization."""
    return authority.caller()


@pytest.fixture(scope="session")
def start_service(authority: Authority) -> session.StartService:
    """`chassis.testing.start_service`."""
    return session.start_service


@pytest.fixture(scope="session")
def serve_fake(authority: Authority) -> Callable[..., Any]:  # Any: an async context manager of str
    """`chassis.testing.serve_fake`."""
    return session.serve_fake


@pytest.fixture(scope="session", autouse=True)
def _servers() -> Iterator[None]:
    yield
    SERVERS.stop()
