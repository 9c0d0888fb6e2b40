"""RunToolService: tools as a run sees them."""

from typing import Any

from google.protobuf.json_format import MessageToDict

from chassis.data.unit_of_work import Acquire
from definable.tool.v1 import run_tool_service_pb2 as pb
from definable.tool.v1.run_tool_service_pb2_grpc import RunToolServiceServicer
from tool import convert
from tool.application import tools
from tool.application.executing import ExecuteTool, RunCall
from tool.domain import ids
from tool.unit_of_work import ToolUnitOfWork


class RunTools(RunToolServiceServicer):
    """Serves runs of the agent service, on behalf of whoever a run acts for."""

    def __init__(self, acquire: Acquire[ToolUnitOfWork], execute: ExecuteTool) -> None:
        self._acquire = acquire
        self._execute = execute

    async def ListToolsForRun(self, request: pb.ListToolsForRunRequest, context: Any) -> pb.ListToolsForRunResponse:
        wanted = [ids.TOOL.parse(tool_id, field="tool_ids") for tool_id in request.tool_ids]
        async with self._acquire() as work:
            found = [await tools.pinned(work, tool_id) for tool_id in wanted]
            return pb.ListToolsForRunResponse(tools=[convert.run_tool(tool) for tool in found if not tool.disabled])

    async def ExecuteForRun(self, request: pb.ExecuteForRunRequest, context: Any) -> pb.ExecuteForRunResponse:
        execution = await self._execute(
            ids.TOOL.parse(request.tool_id, field="tool_id"),
            MessageToDict(request.arguments),
            version=request.version,
            call=RunCall(
                run_id=ids.RUN.parse(request.run_id, field="run_id"),
                call_id=request.call_id,
                idempotency_key=request.idempotency_key,
            ),
        )
        return convert.executed(execution)
