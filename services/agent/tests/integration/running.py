"""The agent service with its stand-ins, and what tests say to it."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from google.protobuf.json_format import MessageToDict

from agent.domain import ids
from agent.main import build
from agent.settings import AgentSettings, WorkerSettings
from chassis.ids import new_id
from chassis.rpc.caller import Actor, Caller
from chassis.testing import InProcessService, serve_fake, start_service
from definable.agent.v1 import agent_service_pb2 as agent_pb
from definable.agent.v1 import definition_pb2 as definition_pb
from definable.agent.v1 import run_service_pb2 as pb
from definable.agent.v1.agent_service_pb2_grpc import AgentServiceStub
from definable.agent.v1.events_pb2 import RunEnded, RunUsageRecorded
from definable.agent.v1.run_service_pb2_grpc import RunServiceStub

from .fakes import FakeKb, FakeOrg, FakeTools  # noqa: TID252

E = TypeVar("E", RunEnded, RunUsageRecorded)

TERMINAL = ("run.completed", "run.failed", "run.cancelled")
QUICK_LEASES = {"lease_seconds": 1.0, "heartbeat_seconds": 0.3}


@dataclass(frozen=True)
class Event:
    """An event of a run."""

    seq: int
    type: str
    data: dict[str, Any]
    time: datetime


@dataclass
class Fleet:
    """The agent service and its peers."""

    agent: InProcessService
    kb: FakeKb
    tools: FakeTools
    org: FakeOrg

    def runs(self, caller: Caller | None) -> RunServiceStub:
        return self.agent.stub(RunServiceStub, caller)

    def agents(self, caller: Caller | None) -> AgentServiceStub:
        return self.agent.stub(AgentServiceStub, caller)

    def conversation(self, caller: Caller) -> RunServiceStub:
        """Return runs as the conversation service sees them when it acts for a caller."""
        acting = self.agent.authority.service("conversation", caller.organization_id, Actor.of(caller))
        return self.agent.stub(RunServiceStub, acting)

    async def start(self, caller: Caller, text: str, **definition: Any) -> str:
        """Start a run of an inline definition and return its id."""
        request = pb.CreateRunRequest(input=text, definition=self.definition(**definition))
        return (await self.runs(caller).CreateRun(request)).run_id

    def definition(
        self, *, tools: Sequence[str] = (), knows: bool = False, ask: Sequence[str] = (), **fields: Any
    ) -> definition_pb.AgentDefinition:
        definition = definition_pb.AgentDefinition(**fields)
        if knows:
            definition.knowledge_base_ids.append(self.kb.base_id)
        for name in tools:
            policy = definition_pb.TOOL_USE_POLICY_ASK if name in ask else definition_pb.TOOL_USE_POLICY_UNSPECIFIED
            definition.tools.append(definition_pb.ToolUse(tool_id=self.tools.id_of(name), policy=policy))
        return definition

    async def events(self, caller: Caller, run_id: str, *, after: int = 0) -> list[Event]:
        """Return the events of a run up to the end of the connection."""
        return [event async for event in self.watch(caller, run_id, after=after)]

    async def watch(self, caller: Caller, run_id: str, *, after: int = 0) -> AsyncIterator[Event]:
        async for event in self.runs(caller).WatchRun(pb.WatchRunRequest(run_id=run_id, after=after)):
            yield Event(event.seq, event.type, MessageToDict(event.data), event.time.ToDatetime(UTC))

    async def until(self, caller: Caller, run_id: str, kind: str) -> Event:
        """Return the first event of a type, as soon as it is there."""
        stream = self.watch(caller, run_id)
        try:
            async for event in stream:
                if event.type == kind:
                    return event
        finally:
            await stream.aclose()  # type: ignore[attr-defined]  # it is an async generator
        raise AssertionError(f"the run ended without {kind}")

    async def run(self, caller: Caller, text: str, **definition: Any) -> list[Event]:
        """Run an inline definition to its end and return its events."""
        return await self.events(caller, await self.start(caller, text, **definition))

    async def get(self, caller: Caller, run_id: str) -> pb.Run:
        run: pb.Run = await self.runs(caller).GetRun(pb.GetRunRequest(id=run_id))
        return run

    async def announced(self, kind: type[E], run_id: str) -> list[E]:
        """Return what others were told of a run."""
        recorded = [record.message for record in await self.agent.outbox.all(kind)]
        return [message for message in recorded if isinstance(message, kind) and message.run_id == run_id]

    async def cancel(self, caller: Caller, run_id: str) -> pb.Run:
        run: pb.Run = await self.runs(caller).CancelRun(pb.CancelRunRequest(id=run_id))
        return run

    async def steps(self, caller: Caller, run_id: str) -> Sequence[pb.RunStep]:
        reply = await self.runs(caller).ListRunSteps(pb.ListRunStepsRequest(run_id=run_id))
        return list(reply.steps)

    async def publish(self, caller: Caller, name: str, **definition: Any) -> agent_pb.Agent:
        """Create and publish an agent."""
        draft = agent_pb.Agent(display_name=name, definition=self.definition(**definition))
        agent: agent_pb.Agent = await self.agents(caller).CreateAgent(agent_pb.CreateAgentRequest(agent=draft))
        await self.agents(caller).PublishAgent(agent_pb.PublishAgentRequest(id=agent.id))
        return agent


@asynccontextmanager
async def fleet(**overrides: Any) -> AsyncIterator[Fleet]:
    """Start an agent service of its own with stand-ins for its peers."""
    kb = FakeKb()  # type: ignore[abstract]  # has what a run asks for
    tools, org = FakeTools(), FakeOrg()
    async with (
        serve_fake(kb, name="kb") as kb_at,
        serve_fake(tools, name="tool") as tool_at,
        serve_fake(org, name="org") as org_at,
        start_service(
            "agent", AgentSettings, build, peers={"kb": kb_at, "tool": tool_at, "org": org_at}, **overrides
        ) as agent,
    ):
        yield Fleet(agent, kb, tools, org)


@asynccontextmanager
async def replica(of: Fleet, *, worker: dict[str, Any] | None = None) -> AsyncIterator[Fleet]:
    """Start another process of the same agent service on its database, as far as one process can tell."""
    settings = cast("AgentSettings", of.agent.settings)
    if worker is not None:
        settings = settings.model_copy(update={"worker": WorkerSettings(**worker)})
    service = build(settings)
    running = InProcessService(
        "agent", await service.start(), service=service, settings=settings, authority=of.agent.authority
    )
    try:
        await service.until_ready()
        yield Fleet(running, of.kb, of.tools, of.org)
    finally:
        await running.close()
        await service.stop(1.0)


def script(*turns: dict[str, Any], delay_ms: float = 0) -> str:
    """Write a message that the offline model follows turn by turn."""
    return f"Go.\n```script\n{json.dumps({'delay_ms': delay_ms, 'turns': turns})}\n```"


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"tool": tool, "arguments": arguments}


def say(text: str) -> dict[str, Any]:
    return {"say": text}


def text_of(events: Sequence[Event]) -> str:
    """Join an answer's deltas as a client does: a restart voids what its step said before."""
    by_step: dict[int, str] = {}
    for event in events:
        if event.type == "step.restarted":
            by_step.pop(event.data["step"], None)
        elif event.type == "message.delta":
            by_step[event.data["step"]] = by_step.get(event.data["step"], "") + event.data["text"]
    return "".join(by_step[step] for step in sorted(by_step))


def types_of(events: Sequence[Event]) -> list[str]:
    """Return the types in order, neighbouring deltas as one."""
    types = [event.type for event in events]
    return [kind for position, kind in enumerate(types) if position == 0 or kind != types[position - 1]]


def a_start(text: str, *, run_id: str = "") -> pb.StartRunRequest:
    return pb.StartRunRequest(
        run_id=run_id or ids.RUN.show(new_id()),
        message_id=ids.MESSAGE.show(new_id()),
        conversation_id=ids.CONVERSATION.show(new_id()),
        model="offline",
        input=text,
    )
