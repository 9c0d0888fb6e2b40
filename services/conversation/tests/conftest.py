"""Fixtures of the conversation service's tests: the service on real servers, with a stand-in for agent."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from chassis.errors import FailedPrecondition, NotFound
from chassis.testing import InProcessService, serve_fake, start_service
from conversation.main import build
from conversation.settings import ConversationSettings
from definable.agent.v1 import run_service_pb2 as pb
from definable.agent.v1.run_service_pb2_grpc import RunServiceServicer

pytest_plugins = ["chassis.testing.plugin"]


class RunNotFound(NotFound):
    """No such run."""

    reason = "RUN_NOT_FOUND"


class AgentNotPublished(FailedPrecondition):
    """The agent has no version."""

    reason = "AGENT_NOT_PUBLISHED"


class FakeAgent(RunServiceServicer):
    """Knows the runs it was asked to start; a test says what they come to."""

    def __init__(self) -> None:
        self.started: dict[str, pb.StartRunRequest] = {}
        self.start_count: dict[str, int] = {}
        self.cancelled: list[str] = []
        self.outputs: dict[str, pb.RunOutput] = {}
        self.unpublished: set[str] = set()
        self.away = False

    async def _answer(self, context: Any) -> None:
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    async def StartRun(self, request: pb.StartRunRequest, context: Any) -> pb.Run:
        await self._answer(context)
        if request.agent_id in self.unpublished:
            raise AgentNotPublished
        self.started[request.run_id] = request
        self.start_count[request.run_id] = self.start_count.get(request.run_id, 0) + 1
        return pb.Run(id=request.run_id)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Any) -> pb.Run:
        await self._answer(context)
        self.cancelled.append(request.id)
        return pb.Run(id=request.id)

    async def GetRunOutput(self, request: pb.GetRunOutputRequest, context: Any) -> pb.RunOutput:
        await self._answer(context)
        if request.run_id in self.outputs:
            return self.outputs[request.run_id]
        if request.run_id in self.started:
            return pb.RunOutput(run_id=request.run_id, state=pb.RUN_STATE_RUNNING)
        raise RunNotFound

    def complete(self, run_id: str, text: str, *citations: pb.Citation) -> None:
        """Let a run end with an answer."""
        self.outputs[run_id] = pb.RunOutput(run_id=run_id, state=pb.RUN_STATE_COMPLETED, text=text, citations=citations)


@pytest.fixture(scope="session")
async def agent_and_address() -> AsyncIterator[tuple[FakeAgent, str]]:
    """The stand-in for the agent service: a real gRPC server."""
    fake = FakeAgent()  # type: ignore[abstract] # agent's other RPCs are not asked for here
    async with serve_fake(fake) as address:
        yield fake, address


@pytest.fixture
def agent(agent_and_address: tuple[FakeAgent, str]) -> FakeAgent:
    """The stand-in for the agent service, reachable."""
    fake, _ = agent_and_address
    fake.away = False
    return fake


@pytest.fixture(scope="session")
async def service(agent_and_address: tuple[FakeAgent, str]) -> AsyncIterator[InProcessService]:
    """The conversation service."""
    _, address = agent_and_address
    async with start_service("conversation", ConversationSettings, build, peers={"agent": address}) as running:
        yield running
