"""The service that most integration tests share."""

from collections.abc import AsyncIterator

import pytest

from chassis.rpc.caller import Caller
from chassis.testing import Authority

from .running import Fleet, fleet  # noqa: TID252


@pytest.fixture(scope="session")
async def fleet_of_session(authority: Authority) -> AsyncIterator[Fleet]:
    async with fleet() as running:
        yield running


@pytest.fixture
def agent(fleet_of_session: Fleet) -> Fleet:
    """The agent service, with peers that have forgotten what earlier tests did."""
    running = fleet_of_session
    running.kb.searches.clear()
    running.kb.failures = 0
    running.tools.failures.clear()
    running.tools.gate = None
    running.org.budget = None
    return running


@pytest.fixture
def member(authority: Authority, owner: Caller) -> Caller:
    """A member of the owner's organization."""
    return authority.colleague(owner)
