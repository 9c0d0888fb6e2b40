"""Agents over gRPC."""

from google.protobuf.empty_pb2 import Empty

from agent import convert
from agent.application import agents
from agent.application.publishing import PublishAgent
from agent.domain import ids
from agent.unit_of_work import AgentUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.rpc.masks import masked
from chassis.rpc.server import Context
from definable.agent.v1.agent_service_pb2 import (
    Agent,
    AgentVersion,
    CreateAgentRequest,
    DeleteAgentRequest,
    GetAgentRequest,
    GetAgentVersionRequest,
    ListAgentsRequest,
    ListAgentsResponse,
    ListAgentVersionsRequest,
    ListAgentVersionsResponse,
    PublishAgentRequest,
    UpdateAgentRequest,
)
from definable.agent.v1.agent_service_pb2_grpc import AgentServiceServicer
from definable.agent.v1.definition_pb2 import AgentDefinition

_CHANGEABLE = ("display_name", "description", "definition")


class Agents(AgentServiceServicer):
    """Implements AgentService."""

    def __init__(self, acquire: Acquire[AgentUnitOfWork], publish: PublishAgent) -> None:
        self._acquire = acquire
        self._publish = publish

    async def CreateAgent(self, request: CreateAgentRequest, context: Context) -> Agent:
        async with self._acquire() as work:
            agent = await agents.create(
                work,
                display_name=request.agent.display_name,
                description=request.agent.description,
                definition=convert.read_definition(request.agent.definition),
            )
            return work.reply(convert.agent(agent))

    async def GetAgent(self, request: GetAgentRequest, context: Context) -> Agent:
        agent_id = ids.AGENT.parse(request.id)
        async with self._acquire() as work:
            return convert.agent(await agents.get(work, agent_id))

    async def ListAgents(self, request: ListAgentsRequest, context: Context) -> ListAgentsResponse:
        async with self._acquire() as work:
            page = await work.agents.page_of(page_size=request.page_size, page_token=request.page_token)
            return ListAgentsResponse(
                agents=[convert.agent(agent) for agent in page.items], next_page_token=page.next_page_token
            )

    async def UpdateAgent(self, request: UpdateAgentRequest, context: Context) -> Agent:
        agent_id = ids.AGENT.parse(request.agent.id, field="agent.id")
        change = _read_change(request)
        async with self._acquire() as work:
            return work.reply(convert.agent(await agents.update(work, agent_id, change)))

    async def DeleteAgent(self, request: DeleteAgentRequest, context: Context) -> Empty:
        agent_id = ids.AGENT.parse(request.id)
        async with self._acquire() as work:
            await agents.delete(work, agent_id)
            return work.reply(Empty())

    async def PublishAgent(self, request: PublishAgentRequest, context: Context) -> AgentVersion:
        agent_id = ids.AGENT.parse(request.id)
        checked = await self._publish.check(agent_id)
        async with self._acquire() as work:
            version = await agents.publish(work, agent_id, checked=checked, note=request.note)
            return work.reply(convert.agent_version(version))

    async def ListAgentVersions(self, request: ListAgentVersionsRequest, context: Context) -> ListAgentVersionsResponse:
        agent_id = ids.AGENT.parse(request.agent_id, field="agent_id")
        async with self._acquire() as work:
            await agents.get(work, agent_id)
            page = await work.agent_versions.page_of(
                agent_id, page_size=request.page_size, page_token=request.page_token
            )
            return ListAgentVersionsResponse(
                versions=[convert.agent_version(version) for version in page.items],
                next_page_token=page.next_page_token,
            )

    async def GetAgentVersion(self, request: GetAgentVersionRequest, context: Context) -> AgentVersion:
        agent_id = ids.AGENT.parse(request.agent_id, field="agent_id")
        async with self._acquire() as work:
            return convert.agent_version(await agents.get_version(work, agent_id, request.version))


def _read_change(request: UpdateAgentRequest) -> agents.Change:
    new = masked(request.agent, request.update_mask, allowed=_CHANGEABLE)
    if "definition" in new:
        # Null clears: an agent always has a definition, so a cleared one is empty.
        new["definition"] = convert.read_definition(new["definition"] or AgentDefinition())
    return agents.Change(**new)
