"""The laws of tools."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.rpc.caller import Caller
from chassis.testing import Authority, InProcessService, refused
from definable.options.v1.options_pb2 import Rank
from definable.tool.v1 import tool_service_pb2 as pb
from definable.tool.v1.events_pb2 import ToolCreated, ToolDeleted, ToolUpdated
from definable.tool.v1.tool_service_pb2_grpc import ToolServiceStub
from tool import convert

UNKNOWN = "tool_0000000000000000000000000Z"
HTTP = pb.HttpTemplate(method="GET", url="https://example.org/{city}")


@pytest.fixture
def developer(authority: Authority) -> Caller:
    """A developer of a new organization."""
    return authority.caller(rank=Rank.DEVELOPER)


@pytest.fixture
def tools(service: InProcessService, developer: Caller) -> Any:
    """The service as the developer calls it."""
    return service.stub(ToolServiceStub, developer)


def a_tool(**fields: Any) -> pb.CreateToolRequest:
    tool = pb.Tool(name="weather", description="Tells the weather.", http=HTTP)
    tool.input_schema.update({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    tool.MergeFrom(pb.Tool(**fields))
    return pb.CreateToolRequest(tool=tool)


def a_change(id: str, *paths: str, **fields: Any) -> pb.UpdateToolRequest:
    return pb.UpdateToolRequest(tool=pb.Tool(id=id, **fields), update_mask=FieldMask(paths=list(paths or fields)))


class TestCreateTool:
    async def test_has_careful_defaults_and_is_announced(self, tools: Any, service: InProcessService) -> None:
        created = await tools.CreateTool(a_tool())

        assert created.kind == pb.TOOL_KIND_HTTP
        assert created.effect == pb.EFFECT_CLASS_AT_MOST_ONCE
        assert created.policy == pb.TOOL_POLICY_ALLOW
        assert (created.version, created.timeout.seconds, created.max_output_bytes) == (1, 30, 65_536)
        assert (await service.outbox.last(ToolCreated)).tool_id == created.id

    @pytest.mark.parametrize("name", ["weather", "WEATHER", "calculator", "knowledge_search"])
    async def test_refuses_a_name_that_is_taken(self, tools: Any, name: str) -> None:
        await tools.CreateTool(a_tool())

        with refused("TOOL_NAME_TAKEN"):
            await tools.CreateTool(a_tool(name=name))

    async def test_lets_two_organizations_use_one_name(
        self, tools: Any, service: InProcessService, authority: Authority
    ) -> None:
        await tools.CreateTool(a_tool())

        other = service.stub(ToolServiceStub, authority.caller(rank=Rank.DEVELOPER))
        assert (await other.CreateTool(a_tool())).name == "weather"

    async def test_refuses_a_template_that_the_schema_cannot_fill(self, tools: Any) -> None:
        with refused("TOOL_TEMPLATE_INVALID"):
            await tools.CreateTool(a_tool(http=pb.HttpTemplate(url="https://example.org/{country}")))

    async def test_refuses_a_schema_that_is_none(self, tools: Any) -> None:
        request = a_tool()
        request.tool.input_schema.update({"type": "objekt"})

        with refused("TOOL_SCHEMA_INVALID"):
            await tools.CreateTool(request)

    @pytest.mark.parametrize(
        "fields",
        [
            {"name": "with space"},
            {"name": "x" * 65},
            {"description": "x" * 2001},
            {"timeout": Duration(seconds=121)},
            {"max_output_bytes": 2_000_000},
            {"http": pb.HttpTemplate(method="TRACE")},
        ],
    )
    async def test_refuses_what_is_out_of_bounds(self, tools: Any, fields: dict[str, Any]) -> None:
        with refused("VALIDATION_FAILED"):
            await tools.CreateTool(a_tool(**fields))


class TestListTools:
    async def test_has_the_built_in_ones_first_and_pages(self, tools: Any) -> None:
        made = [(await tools.CreateTool(a_tool(name=f"t{number}"))).id for number in range(3)]

        first = await tools.ListTools(pb.ListToolsRequest(page_size=2))
        rest = await tools.ListTools(pb.ListToolsRequest(page_size=2, page_token=first.next_page_token))

        assert [tool.name for tool in first.tools[:3]] == ["calculator", "current_time", "fetch_page"]
        assert [tool.id for tool in (*first.tools[3:], *rest.tools)] == made[::-1]

    async def test_can_be_limited_to_one_kind(self, tools: Any) -> None:
        await tools.CreateTool(a_tool())

        builtin = await tools.ListTools(pb.ListToolsRequest(kind=pb.TOOL_KIND_BUILTIN))
        http = await tools.ListTools(pb.ListToolsRequest(kind=pb.TOOL_KIND_HTTP))

        assert {tool.kind for tool in builtin.tools} == {pb.TOOL_KIND_BUILTIN}
        assert [tool.name for tool in http.tools] == ["weather"]


class TestUpdateTool:
    async def test_makes_a_version_when_what_it_does_changes(self, tools: Any, service: InProcessService) -> None:
        created = await tools.CreateTool(a_tool())

        updated = await tools.UpdateTool(a_change(created.id, description="Tells more."))

        assert (updated.version, updated.description, updated.http) == (2, "Tells more.", created.http)
        assert (await service.outbox.last(ToolUpdated)).version == 2

    async def test_makes_none_when_it_is_disabled(self, tools: Any) -> None:
        created = await tools.CreateTool(a_tool())

        updated = await tools.UpdateTool(a_change(created.id, disabled=True))

        assert (updated.version, updated.disabled) == (1, True)
        with refused("TOOL_DISABLED"):
            await tools.ExecuteTool(pb.ExecuteToolRequest(id=created.id, arguments=convert.struct({"city": "Bonn"})))

    async def test_refuses_a_stale_etag(self, tools: Any) -> None:
        created = await tools.CreateTool(a_tool())
        await tools.UpdateTool(a_change(created.id, description="Tells more."))

        with refused("ETAG_MISMATCH"):
            await tools.UpdateTool(a_change(created.id, description="x"), metadata=(("if-match", created.etag),))

    async def test_leaves_built_in_tools_alone(self, tools: Any) -> None:
        [calculator, *_] = (await tools.ListTools(pb.ListToolsRequest())).tools

        with refused("TOOL_BUILT_IN"):
            await tools.UpdateTool(a_change(calculator.id, description="x"))
        with refused("TOOL_BUILT_IN"):
            await tools.DeleteTool(pb.DeleteToolRequest(id=calculator.id))


class TestDeleteTool:
    async def test_is_gone_and_its_name_is_free(self, tools: Any, service: InProcessService) -> None:
        created = await tools.CreateTool(a_tool())

        await tools.DeleteTool(pb.DeleteToolRequest(id=created.id))

        with refused("TOOL_NOT_FOUND"):
            await tools.GetTool(pb.GetToolRequest(id=created.id))
        assert (await service.outbox.last(ToolDeleted)).tool_id == created.id
        assert (await tools.CreateTool(a_tool())).id != created.id


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "CreateTool": lambda stub, id: stub.CreateTool(a_tool(name="another")),
    "ListTools": lambda stub, id: stub.ListTools(pb.ListToolsRequest()),
    "GetTool": lambda stub, id: stub.GetTool(pb.GetToolRequest(id=id)),
    "UpdateTool": lambda stub, id: stub.UpdateTool(a_change(id, description="x")),
    "DeleteTool": lambda stub, id: stub.DeleteTool(pb.DeleteToolRequest(id=id)),
    "ExecuteTool": lambda stub, id: stub.ExecuteTool(
        pb.ExecuteToolRequest(id=id, arguments=convert.struct({"city": "Bonn"}))
    ),
    "ListToolExecutions": lambda stub, id: stub.ListToolExecutions(pb.ListToolExecutionsRequest()),
    "GetToolExecution": lambda stub, id: stub.GetToolExecution(
        pb.GetToolExecutionRequest(id=id.replace("tool_", "exec_"))
    ),
}
BUILDING = tuple(name for name in CALLS if name not in ("ListTools", "GetTool"))


class TestCallers:
    @pytest.mark.parametrize("rpc", CALLS)
    async def test_nobody_is_refused(self, service: InProcessService, rpc: str) -> None:
        with refused("UNAUTHENTICATED"):
            await CALLS[rpc](service.stub(ToolServiceStub, None), UNKNOWN)

    @pytest.mark.parametrize("rpc", BUILDING)
    async def test_too_low_a_role_is_refused(self, service: InProcessService, authority: Authority, rpc: str) -> None:
        with refused("PERMISSION_DENIED"):
            await CALLS[rpc](service.stub(ToolServiceStub, authority.caller(rank=Rank.MEMBER)), UNKNOWN)

    @pytest.mark.parametrize("rpc", ["GetTool", "UpdateTool", "DeleteTool", "ExecuteTool"])
    async def test_a_stranger_finds_nothing(
        self, tools: Any, service: InProcessService, authority: Authority, rpc: str
    ) -> None:
        created = await tools.CreateTool(a_tool())

        with refused("TOOL_NOT_FOUND"):
            await CALLS[rpc](service.stub(ToolServiceStub, authority.caller(rank=Rank.OWNER)), created.id)

    async def test_a_viewer_reads(
        self, tools: Any, service: InProcessService, authority: Authority, developer: Caller
    ) -> None:
        created = await tools.CreateTool(a_tool())
        viewer = service.stub(
            ToolServiceStub, authority.caller(rank=Rank.VIEWER, organization_id=developer.organization_id)
        )

        assert (await viewer.GetTool(pb.GetToolRequest(id=created.id))).id == created.id
