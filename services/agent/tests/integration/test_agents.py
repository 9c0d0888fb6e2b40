"""Agents: drafts, versions, and who may what."""

from collections.abc import Awaitable, Callable

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from agent.domain import ids
from chassis.ids import new_id
from chassis.rpc.caller import Caller
from chassis.testing import Authority, caller_matrix, refused
from definable.agent.v1 import agent_service_pb2 as pb
from definable.agent.v1 import definition_pb2 as definition_pb
from definable.agent.v1 import model_service_pb2 as model_pb
from definable.agent.v1.events_pb2 import AgentCreated, AgentDeleted, AgentPublished, AgentUpdated
from definable.agent.v1.model_service_pb2_grpc import ModelServiceStub
from definable.options.v1.options_pb2 import Rank

from .providers import model_server  # noqa: TID252
from .running import Fleet, fleet  # noqa: TID252


async def create(agent: Fleet, caller: Caller | None, name: str, **fields: object) -> pb.Agent:
    draft = pb.Agent(display_name=name, **fields)  # type: ignore[arg-type]  # fields of the message
    created: pb.Agent = await agent.agents(caller).CreateAgent(pb.CreateAgentRequest(agent=draft))
    return created


def a_definition(agent: Fleet) -> definition_pb.AgentDefinition:
    definition = agent.definition(tools=["calculator", "delete"], ask=["calculator"], knows=True, instructions="Hi.")
    definition.model = "offline"
    definition.parameters.temperature = 0
    definition.retrieval.top_k = 3
    definition.limits.max_duration.CopyFrom(Duration(seconds=90, nanos=500_000_000))
    return definition


class TestCreateAgent:
    async def test_keeps_the_draft_as_it_was_given(self, agent: Fleet, owner: Caller) -> None:
        definition = a_definition(agent)

        created = await create(agent, owner, "Helper", description="Helps.", definition=definition)
        read = await agent.agents(owner).GetAgent(pb.GetAgentRequest(id=created.id))

        assert read == created
        assert (read.definition, read.published_version, read.creator) == (definition, 0, owner.subject)
        assert (await agent.agent.outbox.last(AgentCreated)).agent_id == created.id

    async def test_refuses_a_name_that_differs_only_in_case(self, agent: Fleet, owner: Caller) -> None:
        await create(agent, owner, "Helper")

        with refused("AGENT_NAME_TAKEN"):
            await create(agent, owner, "HELPER")

    async def test_lets_two_organizations_use_one_name(self, agent: Fleet, owner: Caller, stranger: Caller) -> None:
        assert (await create(agent, owner, "Same")).id != (await create(agent, stranger, "Same")).id

    @pytest.mark.parametrize(
        ("definition", "reason"),
        [
            (definition_pb.AgentDefinition(knowledge_base_ids=["doc_1"]), "AGENT_DEFINITION_INVALID"),
            (
                definition_pb.AgentDefinition(limits=definition_pb.RunLimits(max_duration=Duration(seconds=9999))),
                "AGENT_DEFINITION_INVALID",
            ),
            (
                definition_pb.AgentDefinition(parameters=definition_pb.ModelParameters(temperature=3)),
                "VALIDATION_FAILED",
            ),
            (definition_pb.AgentDefinition(instructions="x" * 32_001), "VALIDATION_FAILED"),
        ],
    )
    async def test_refuses_what_can_never_run(
        self, agent: Fleet, owner: Caller, definition: definition_pb.AgentDefinition, reason: str
    ) -> None:
        with refused(reason) as refusal:
            await create(agent, owner, "Wrong", definition=definition)

        assert refusal.error is not None
        assert refusal.error.violations


class TestUpdateAgent:
    async def test_changes_only_what_the_mask_names(self, agent: Fleet, owner: Caller) -> None:
        created = await create(agent, owner, "Before", description="Old.")
        change = pb.Agent(id=created.id, display_name="After", description="New.")
        request = pb.UpdateAgentRequest(agent=change, update_mask=FieldMask(paths=["display_name"]))

        updated = await agent.agents(owner).UpdateAgent(request)

        assert (updated.display_name, updated.description) == ("After", "Old.")
        assert updated.etag != created.etag
        assert (await agent.agent.outbox.last(AgentUpdated)).agent_id == created.id

    async def test_refuses_an_update_of_what_the_caller_has_not_read(self, agent: Fleet, owner: Caller) -> None:
        created = await create(agent, owner, "Contended")
        request = pb.UpdateAgentRequest(agent=pb.Agent(id=created.id, description="Mine."))
        etag = [("if-match", created.etag)]
        await agent.agents(owner).UpdateAgent(request, metadata=etag)

        with refused("ETAG_MISMATCH"):
            await agent.agents(owner).UpdateAgent(request, metadata=etag)

    async def test_refuses_a_name_that_is_taken_or_empty(self, agent: Fleet, owner: Caller) -> None:
        await create(agent, owner, "Taken")
        other = await create(agent, owner, "Other")
        mask = FieldMask(paths=["display_name"])

        for name, reason in (("taken", "AGENT_NAME_TAKEN"), ("", "VALIDATION_FAILED")):
            with refused(reason):
                changed = pb.Agent(id=other.id, display_name=name)
                await agent.agents(owner).UpdateAgent(pb.UpdateAgentRequest(agent=changed, update_mask=mask))


class TestPublishAgent:
    async def test_freezes_the_draft_as_the_next_version(self, agent: Fleet, owner: Caller) -> None:
        created = await create(agent, owner, "Published", definition=a_definition(agent))

        first = await agent.agents(owner).PublishAgent(pb.PublishAgentRequest(id=created.id, note="First."))
        changed = pb.Agent(id=created.id, definition=definition_pb.AgentDefinition(instructions="New."))
        await agent.agents(owner).UpdateAgent(pb.UpdateAgentRequest(agent=changed))
        second = await agent.agents(owner).PublishAgent(pb.PublishAgentRequest(id=created.id))

        read = await agent.agents(owner).GetAgentVersion(pb.GetAgentVersionRequest(agent_id=created.id, version=1))
        assert (first.version, second.version, read) == (1, 2, first)
        assert (read.definition, read.note) == (created.definition, "First.")
        listed = await agent.agents(owner).ListAgentVersions(pb.ListAgentVersionsRequest(agent_id=created.id))
        assert [version.version for version in listed.versions] == [2, 1]
        assert (await agent.agent.outbox.last(AgentPublished)).version == 2

    async def test_names_everything_that_does_not_exist(self, agent: Fleet, owner: Caller) -> None:
        definition = a_definition(agent)
        definition.model = "openai/none"
        definition.knowledge_base_ids.append(ids.KNOWLEDGE_BASE.show(new_id()))
        definition.tools.add(tool_id=ids.TOOL.show(new_id()))
        definition.tools.add(tool_id=ids.TOOL.show(new_id()))
        created = await create(agent, owner, "Dangling", definition=definition)

        with refused("AGENT_DEFINITION_INVALID") as refusal:
            await agent.agents(owner).PublishAgent(pb.PublishAgentRequest(id=created.id))

        assert refusal.error is not None
        assert [violation.field for violation in refusal.error.violations] == [
            "definition.model",
            "definition.knowledge_base_ids[1]",
            "definition.tools[2].tool_id",
            "definition.tools[3].tool_id",
        ]

    async def test_has_one_version_for_a_repeated_request(self, agent: Fleet, owner: Caller) -> None:
        created = await create(agent, owner, "Once")
        key = [("idempotency-key", new_id().hex)]

        for _ in range(2):
            version = await agent.agents(owner).PublishAgent(pb.PublishAgentRequest(id=created.id), metadata=key)

        assert version.version == 1


class TestDeleteAgent:
    async def test_deletes_its_versions_and_leaves_its_runs(self, agent: Fleet, owner: Caller) -> None:
        published = await agent.publish(owner, "Short-lived")
        run_id = await agent.start(owner, "Hello")

        await agent.agents(owner).DeleteAgent(pb.DeleteAgentRequest(id=published.id))

        with refused("AGENT_NOT_FOUND"):
            await agent.agents(owner).GetAgent(pb.GetAgentRequest(id=published.id))
        with refused("AGENT_NOT_FOUND"):
            await agent.agents(owner).ListAgentVersions(pb.ListAgentVersionsRequest(agent_id=published.id))
        assert (await agent.agent.outbox.last(AgentDeleted)).agent_id == published.id
        assert (await agent.get(owner, run_id)).id == run_id


class TestAccess:
    async def test_lists_page_by_page_and_only_the_own_organization(
        self, agent: Fleet, owner: Caller, stranger: Caller
    ) -> None:
        names = ["One", "Two", "Three"]
        for name in names:
            await create(agent, owner, name)
        await create(agent, stranger, "Foreign")

        first = await agent.agents(owner).ListAgents(pb.ListAgentsRequest(page_size=2))
        second = await agent.agents(owner).ListAgents(
            pb.ListAgentsRequest(page_size=2, page_token=first.next_page_token)
        )

        assert [each.display_name for each in [*first.agents, *second.agents]] == names[::-1]

    async def test_answers_each_caller_as_the_contract_says(
        self, agent: Fleet, owner: Caller, authority: Authority
    ) -> None:
        created = await agent.publish(owner, "Matrix")
        calls: dict[str, Callable[[Caller | None], Awaitable[Message]]] = {
            "GetAgent": lambda caller: agent.agents(caller).GetAgent(pb.GetAgentRequest(id=created.id)),
            "UpdateAgent": lambda caller: agent.agents(caller).UpdateAgent(
                pb.UpdateAgentRequest(agent=pb.Agent(id=created.id, description="x"))
            ),
            "PublishAgent": lambda caller: agent.agents(caller).PublishAgent(pb.PublishAgentRequest(id=created.id)),
            "ListAgentVersions": lambda caller: agent.agents(caller).ListAgentVersions(
                pb.ListAgentVersionsRequest(agent_id=created.id)
            ),
            "GetAgentVersion": lambda caller: agent.agents(caller).GetAgentVersion(
                pb.GetAgentVersionRequest(agent_id=created.id, version=1)
            ),
            "DeleteAgent": lambda caller: agent.agents(caller).DeleteAgent(pb.DeleteAgentRequest(id=created.id)),
        }

        for name, ask in calls.items():
            assert await caller_matrix(ask, authority, permitted=owner) == {
                "nobody": "UNAUTHENTICATED",
                "stranger": "AGENT_NOT_FOUND",
                "low": "PERMISSION_DENIED",
                "permitted": "OK",
            }, name

    async def test_lets_members_read_and_developers_build(
        self, agent: Fleet, owner: Caller, authority: Authority
    ) -> None:
        member, developer = authority.colleague(owner), authority.colleague(owner, Rank.DEVELOPER)

        with refused("PERMISSION_DENIED"):
            await create(agent, member, "Mine")
        created = await create(agent, developer, "Ours")
        assert (await agent.agents(member).GetAgent(pb.GetAgentRequest(id=created.id))).id == created.id


class TestListModels:
    async def test_always_has_the_offline_model_and_says_what_it_is(self, agent: Fleet, owner: Caller) -> None:
        reply = await agent.agent.stub(ModelServiceStub, owner).ListModels(model_pb.ListModelsRequest())

        assert [(model.id, model.is_default) for model in reply.models] == [("offline", True)]
        assert "Not a language model" in reply.models[0].description

    async def test_discovers_the_models_of_a_server_that_only_has_an_address(self, owner: Caller) -> None:
        async with model_server() as server:
            server.models = ("tiny", "gpt-4o-mini")
            async with fleet(openai={"base_url": f"{server.url}/v1"}) as agent:
                server.answer("Hello from tiny.")
                stub = agent.agent.stub(ModelServiceStub, owner)
                models = (await stub.ListModels(model_pb.ListModelsRequest())).models
                first = (await stub.ListModels(model_pb.ListModelsRequest(page_size=1))).next_page_token
                events = await agent.run(owner, "Hello", model="openai/tiny")

        assert [model.id for model in models] == ["openai/gpt-4o-mini", "offline", "openai/tiny"]
        assert (models[0].input_token_nano_usd, first) == (150, "1")
        assert (events[-1].type, server.requests[-1]["model"]) == ("run.completed", "tiny")
