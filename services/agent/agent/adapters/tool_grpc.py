"""The tool service over gRPC."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct, Value

from agent.domain.definition import ALLOW, ASK, DENY
from agent.domain.ports import RunnableTool, ToolOutcome
from agent.domain.steps import AT_MOST_ONCE, IDEMPOTENT, PURE
from chassis.rpc.client import Peers
from definable.tool.v1 import tool_service_pb2 as tool_pb
from definable.tool.v1.run_tool_service_pb2 import ExecuteForRunRequest, ListToolsForRunRequest, RunTool
from definable.tool.v1.run_tool_service_pb2_grpc import RunToolServiceStub

_EFFECTS = {tool_pb.EFFECT_CLASS_PURE: PURE, tool_pb.EFFECT_CLASS_IDEMPOTENT: IDEMPOTENT}
_POLICIES = {tool_pb.TOOL_POLICY_ASK: ASK, tool_pb.TOOL_POLICY_DENY: DENY}
# What a call may take beyond the tool's own time-out: two hops and a transaction on each side of the tool.
_OVERHEAD = timedelta(seconds=5)
_TIMEOUT_WITHOUT_ONE = timedelta(seconds=30)


class ToolGrpc:
    """domain.ports.Tools over the peer named "tool"."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def _stub(self) -> RunToolServiceStub:
        return self._peers.stub(RunToolServiceStub, "tool")

    async def describe(self, tool_ids: Sequence[str]) -> list[RunnableTool]:
        reply = await self._stub().ListToolsForRun(ListToolsForRunRequest(tool_ids=tool_ids))
        return [_runnable(tool) for tool in reply.tools]

    async def execute(
        self, *, tool_id: str, version: int, arguments: Mapping[str, Any], run_id: str, call_id: str, timeout: timedelta
    ) -> ToolOutcome:
        given = Struct()
        given.update(dict(arguments))
        request = ExecuteForRunRequest(
            tool_id=tool_id,
            version=version,
            arguments=given,
            run_id=run_id,
            call_id=call_id,
            idempotency_key=f"{run_id}:{call_id}",
        )
        patience = (timeout or _TIMEOUT_WITHOUT_ONE) + _OVERHEAD
        reply = await self._stub().ExecuteForRun(request, timeout=patience.total_seconds())
        return ToolOutcome(
            text=_text(reply.output),
            is_error=reply.is_error,
            error_reason=reply.error_reason,
            execution_id=reply.execution_id,
        )


def _runnable(tool: RunTool) -> RunnableTool:
    return RunnableTool(
        tool_id=tool.tool_id,
        name=tool.name,
        description=tool.description,
        input_schema=MessageToDict(tool.input_schema) or {"type": "object"},
        effect=_EFFECTS.get(tool.effect, AT_MOST_ONCE),
        policy=_POLICIES.get(tool.policy, ALLOW),
        version=tool.version,
        timeout=tool.timeout.ToTimedelta(),
    )


def _text(output: Value) -> str:
    """Write an output for the model: text as it is, everything else as JSON."""
    if output.WhichOneof("kind") == "string_value":
        return output.string_value
    if output.WhichOneof("kind") is None:
        return ""
    # A Struct has no order; sorted, the same output is the same text.
    return orjson.dumps(_whole(MessageToDict(output)), option=orjson.OPT_SORT_KEYS).decode()


def _whole(value: Any) -> Any:  # Any: JSON of any shape
    """Write numbers without a fraction as whole ones; protobuf knows only floats."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(part) for name, part in value.items()}
    return [_whole(part) for part in value] if isinstance(value, list) else value
