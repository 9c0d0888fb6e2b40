"""The laws of executions: what went in and came out is kept, and nothing has its effect twice."""

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict

from chassis.ids import new_id
from chassis.rpc.caller import Actor, Caller
from chassis.testing import Authority, InProcessService, refused
from definable.options.v1.options_pb2 import Rank
from definable.tool.v1 import run_tool_service_pb2 as run_pb
from definable.tool.v1 import tool_service_pb2 as pb
from definable.tool.v1.events_pb2 import ToolExecuted
from definable.tool.v1.run_tool_service_pb2_grpc import RunToolServiceStub
from definable.tool.v1.tool_service_pb2_grpc import ToolServiceStub
from tool import convert
from tool.domain import builtins, ids
from tool.domain.kinds import ExecutionState
from tool.unit_of_work import ToolUnitOfWork

CALCULATOR = ids.TOOL.show(builtins.CALCULATOR)
CURRENT_TIME = ids.TOOL.show(builtins.CURRENT_TIME)
FETCH_PAGE = ids.TOOL.show(builtins.FETCH_PAGE)


@pytest.fixture
def developer(authority: Authority) -> Caller:
    """A developer of a new organization."""
    return authority.caller(rank=Rank.DEVELOPER)


@pytest.fixture
def tools(service: InProcessService, developer: Caller) -> Any:
    """The service as the developer calls it."""
    return service.stub(ToolServiceStub, developer)


@pytest.fixture
def runs(service: InProcessService, authority: Authority, developer: Caller) -> Any:
    """The service as agent calls it on behalf of the developer."""
    acting = authority.service("agent", developer.organization_id, Actor.of(developer))
    return service.stub(RunToolServiceStub, acting)


async def an_http_tool(tools: Any, upstream: Any, path: str, **fields: Any) -> pb.Tool:
    tool = pb.Tool(
        name=fields.pop("name", "remote"),
        description="Asks another side.",
        http=pb.HttpTemplate(method=fields.pop("method", "GET"), url=f"{upstream.url}{path}"),
        **fields,
    )
    tool.input_schema.update({"type": "object", "properties": {"city": {"type": "string"}}})
    created: pb.Tool = await tools.CreateTool(pb.CreateToolRequest(tool=tool))
    return created


async def execute(tools: Any, tool_id: str, arguments: Mapping[str, Any]) -> pb.ToolExecution:
    execution: pb.ToolExecution = await tools.ExecuteTool(
        pb.ExecuteToolRequest(id=tool_id, arguments=convert.struct(arguments)), timeout=30
    )
    return execution


def output_of(execution: pb.ToolExecution | run_pb.ExecuteForRunResponse) -> Any:
    return MessageToDict(execution.output)


class TestBuiltinTools:
    async def test_calculates(self, tools: Any) -> None:
        assert output_of(await execute(tools, CALCULATOR, {"expression": "6 * 7"})) == {"result": 42}

    async def test_an_error_of_the_tool_is_an_outcome(self, tools: Any) -> None:
        execution = await execute(tools, CALCULATOR, {"expression": "1 / 0"})

        assert (execution.is_error, execution.error_reason) == (True, "TOOL_FAILED")
        assert execution.state == pb.TOOL_EXECUTION_STATE_FAILED

    async def test_tells_the_time(self, tools: Any) -> None:
        assert output_of(await execute(tools, CURRENT_TIME, {"time_zone": "Asia/Tokyo"}))["time"].endswith("+09:00")
        assert (await execute(tools, CURRENT_TIME, {"time_zone": "Moon/Base"})).error_reason == "TOOL_FAILED"

    async def test_fetches_a_page(self, tools: Any, upstream: Any) -> None:
        page = output_of(await execute(tools, FETCH_PAGE, {"url": f"{upstream.url}/page"}))

        assert (page["title"], page["text"], page["truncated"]) == ("Page", "Seen by readers.", False)

    @pytest.mark.parametrize(
        "url", ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"]
    )
    async def test_fetches_nothing_private(self, tools: Any, url: str) -> None:
        assert (await execute(tools, FETCH_PAGE, {"url": url})).error_reason == "TOOL_ADDRESS_REFUSED"

    async def test_refuses_arguments_that_the_schema_refuses(self, tools: Any) -> None:
        with refused("TOOL_ARGUMENTS_INVALID"):
            await execute(tools, CALCULATOR, {"expression": 1})


class TestHttpTools:
    async def test_answers_with_the_other_sides_json(self, tools: Any, upstream: Any) -> None:
        tool = await an_http_tool(tools, upstream, "/weather/{city}")

        execution = await execute(tools, tool.id, {"city": "Bad Ems"})

        assert output_of(execution)["path"] == "/weather/Bad%20Ems"
        assert execution.state == pb.TOOL_EXECUTION_STATE_SUCCEEDED

    @pytest.mark.parametrize(
        ("path", "fields", "reason"),
        [
            ("/broken", {}, "TOOL_UPSTREAM_STATUS"),
            ("/slow", {"timeout": Duration(seconds=1)}, "TOOL_TIMEOUT"),
            ("/large", {"max_output_bytes": 1000}, "TOOL_OUTPUT_TOO_LARGE"),
        ],
    )
    async def test_what_goes_wrong_there_is_an_outcome(
        self, tools: Any, upstream: Any, path: str, fields: dict[str, Any], reason: str
    ) -> None:
        tool = await an_http_tool(tools, upstream, path, **fields)

        assert (await execute(tools, tool.id, {})).error_reason == reason

    @pytest.mark.parametrize(
        "answer", ['{"a": NaN}', '{"a": 1e999}', '{"a": 100000000000000000000}', "[" * 60 + "]" * 60, "[" * 3000]
    )
    async def test_json_that_cannot_be_kept_is_kept_as_text(self, tools: Any, upstream: Any, answer: str) -> None:
        tool = await an_http_tool(tools, upstream, "/hostile")
        upstream.answers["/hostile"] = answer

        assert output_of(await execute(tools, tool.id, {})) == answer

    async def test_texts_that_cannot_be_kept_are_mended(self, tools: Any, upstream: Any) -> None:
        tool = await an_http_tool(tools, upstream, "/mended")
        upstream.answers["/mended"] = '{"a\\u0000": "\\ud800\\u0000"}'

        assert output_of(await execute(tools, tool.id, {})) == {"a": "?"}

    async def test_an_output_must_satisfy_its_schema(self, tools: Any, upstream: Any) -> None:
        request = pb.Tool()
        request.output_schema.update({"type": "array"})
        tool = await an_http_tool(tools, upstream, "/weather", output_schema=request.output_schema)

        assert (await execute(tools, tool.id, {})).error_reason == "TOOL_OUTPUT_INVALID"

    async def test_a_server_that_is_away_is_an_outcome(self, tools: Any) -> None:
        class Nowhere:
            url = "http://127.0.0.1:9"

        tool = await an_http_tool(tools, Nowhere, "/")

        assert (await execute(tools, tool.id, {})).error_reason == "TOOL_UPSTREAM_FAILED"


class TestToolExecutions:
    async def test_are_kept_announced_and_listed_newest_first(self, tools: Any, service: InProcessService) -> None:
        made = [(await execute(tools, CALCULATOR, {"expression": str(number)})).id for number in range(3)]

        first = await tools.ListToolExecutions(pb.ListToolExecutionsRequest(page_size=2, tool_id=CALCULATOR))
        rest = await tools.ListToolExecutions(
            pb.ListToolExecutionsRequest(page_size=2, tool_id=CALCULATOR, page_token=first.next_page_token)
        )
        shown = await tools.GetToolExecution(pb.GetToolExecutionRequest(id=made[0]))

        assert [one.id for one in (*first.tool_executions, *rest.tool_executions)] == made[::-1]
        assert MessageToDict(shown.arguments) == {"expression": "0"}
        assert (await service.outbox.last(ToolExecuted)).execution_id == made[-1]

    async def test_a_stranger_finds_none(self, tools: Any, service: InProcessService, authority: Authority) -> None:
        execution = await execute(tools, CALCULATOR, {"expression": "1"})
        stranger = service.stub(ToolServiceStub, authority.caller(rank=Rank.OWNER))

        with refused("EXECUTION_NOT_FOUND"):
            await stranger.GetToolExecution(pb.GetToolExecutionRequest(id=execution.id))
        assert not (await stranger.ListToolExecutions(pb.ListToolExecutionsRequest())).tool_executions


def a_call(tool: pb.Tool | str, run_id: str, **fields: Any) -> run_pb.ExecuteForRunRequest:
    tool_id, version = (tool, 1) if isinstance(tool, str) else (tool.id, tool.version)
    given = {"version": version, "call_id": "call_1", "idempotency_key": "key", **fields}
    return run_pb.ExecuteForRunRequest(tool_id=tool_id, run_id=run_id, **given)


@pytest.fixture
def run_id() -> str:
    return ids.RUN.show(new_id())


class TestExecuteForRun:
    async def test_the_same_call_has_its_effect_once(self, runs: Any, tools: Any, upstream: Any, run_id: str) -> None:
        tool = await an_http_tool(tools, upstream, f"/once-{run_id}", method="POST")

        first = await runs.ExecuteForRun(a_call(tool, run_id))
        second = await runs.ExecuteForRun(a_call(tool, run_id))

        assert first == second
        assert len([request for request in upstream.requests if run_id in request[":path"]]) == 1

    @pytest.mark.parametrize(
        ("effect", "is_repeated"),
        [(pb.EFFECT_CLASS_AT_MOST_ONCE, False), (pb.EFFECT_CLASS_IDEMPOTENT, True), (pb.EFFECT_CLASS_PURE, True)],
    )
    async def test_what_died_in_the_middle_is_repeated_only_where_it_may(
        self,
        runs: Any,
        tools: Any,
        upstream: Any,
        run_id: str,
        effect: pb.EffectClass,
        is_repeated: bool,
        service: InProcessService,
        developer: Caller,
    ) -> None:
        tool = await an_http_tool(tools, upstream, f"/died-{run_id}", effect=effect)
        await runs.ExecuteForRun(a_call(tool, run_id))
        await forget_the_outcome(service, developer, run_id)

        if is_repeated:
            assert not (await runs.ExecuteForRun(a_call(tool, run_id))).is_error
        else:
            with refused("EXECUTION_OUTCOME_UNKNOWN"):
                await runs.ExecuteForRun(a_call(tool, run_id))

    async def test_an_idempotent_tool_carries_its_key(self, runs: Any, tools: Any, upstream: Any, run_id: str) -> None:
        tool = await an_http_tool(tools, upstream, f"/key-{run_id}", effect=pb.EFFECT_CLASS_IDEMPOTENT)

        await runs.ExecuteForRun(a_call(tool, run_id, idempotency_key="stable"))

        assert upstream.requests[-1]["idempotency-key"] == "stable"

    async def test_an_older_version_stays_what_it_was(self, runs: Any, tools: Any, upstream: Any, run_id: str) -> None:
        tool = await an_http_tool(tools, upstream, "/first")
        await tools.UpdateTool(
            pb.UpdateToolRequest(
                tool=pb.Tool(id=tool.id, http=pb.HttpTemplate(method="GET", url=f"{upstream.url}/second")),
                update_mask=FieldMask(paths=["http"]),
            )
        )

        assert output_of(await runs.ExecuteForRun(a_call(tool, run_id)))["path"] == "/first"
        with refused("TOOL_VERSION_NOT_FOUND"):
            await runs.ExecuteForRun(a_call(tool, run_id, version=9, call_id="call_2"))

    async def test_wrong_arguments_are_told_to_the_model(self, runs: Any, run_id: str) -> None:
        reply = await runs.ExecuteForRun(a_call(CALCULATOR, run_id, arguments=convert.struct({"expression": 1})))

        assert (reply.is_error, reply.error_reason) == (True, "TOOL_ARGUMENTS_INVALID")

    async def test_is_for_agent_alone(self, service: InProcessService, authority: Authority, run_id: str) -> None:
        for caller in (authority.caller(), authority.service("kb", authority.caller().organization_id)):
            with refused("INTERNAL_ONLY"):
                await service.stub(RunToolServiceStub, caller).ExecuteForRun(a_call(CALCULATOR, run_id))
        with refused("UNAUTHENTICATED"):
            await service.stub(RunToolServiceStub, None).ExecuteForRun(a_call(CALCULATOR, run_id))


class TestListToolsForRun:
    async def test_keeps_the_order_and_leaves_out_what_is_disabled(self, runs: Any, tools: Any, upstream: Any) -> None:
        tool = await an_http_tool(tools, upstream, "/")
        disabled = await an_http_tool(tools, upstream, "/", name="off", disabled=True)

        reply = await runs.ListToolsForRun(run_pb.ListToolsForRunRequest(tool_ids=[tool.id, disabled.id, CALCULATOR]))

        assert [found.tool_id for found in reply.tools] == [tool.id, CALCULATOR]
        assert reply.tools[1].effect == pb.EFFECT_CLASS_PURE

    async def test_names_what_is_unknown(self, runs: Any) -> None:
        with refused("TOOL_NOT_FOUND"):
            await runs.ListToolsForRun(run_pb.ListToolsForRunRequest(tool_ids=[ids.TOOL.show(new_id())]))


async def forget_the_outcome(service: InProcessService, caller: Caller, run_id: str) -> None:
    """Bring the execution of a run's call back to where a crash would have left it."""
    assert caller.organization_id is not None
    acquire = ToolUnitOfWork.factory(service.database)
    async with acquire.as_organization(caller.organization_id, Actor.of(caller)) as work:
        execution = await work.executions.of_call(ids.RUN.parse(run_id), "call_1")
        assert execution is not None
        execution.state, execution.output = ExecutionState.RUNNING, None
