"""ToolService: tools and their executions."""

from typing import Any
from uuid import UUID

from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict

from chassis.data.unit_of_work import Acquire
from chassis.rpc.masks import masked
from definable.tool.v1 import tool_service_pb2 as pb
from definable.tool.v1.tool_service_pb2_grpc import ToolServiceServicer
from tool import convert
from tool.application import tools
from tool.application.executing import ExecuteTool
from tool.domain import ids
from tool.domain.builtins import BUILTINS
from tool.domain.errors import ExecutionNotFound
from tool.unit_of_work import ToolUnitOfWork


class Tools(ToolServiceServicer):
    """Serves the organization's tools; the built-in ones head the first page of the list."""

    def __init__(self, acquire: Acquire[ToolUnitOfWork], execute: ExecuteTool) -> None:
        self._acquire = acquire
        self._execute = execute

    async def CreateTool(self, request: pb.CreateToolRequest, context: Any) -> pb.Tool:
        definition = convert.definition(request.tool)
        async with self._acquire() as work:
            return work.reply(convert.tool(await tools.create(work, definition, disabled=request.tool.disabled)))

    async def ListTools(self, request: pb.ListToolsRequest, context: Any) -> pb.ListToolsResponse:
        with_builtins = not request.page_token and request.kind != pb.TOOL_KIND_HTTP
        listed = convert.builtins() if with_builtins else []
        if request.kind == pb.TOOL_KIND_BUILTIN:
            return pb.ListToolsResponse(tools=listed)
        async with self._acquire() as work:
            page = await work.tools.page_newest_first(page_size=request.page_size, page_token=request.page_token)
            listed += [convert.tool(row) for row in page.items]
            return pb.ListToolsResponse(tools=listed, next_page_token=page.next_page_token)

    async def GetTool(self, request: pb.GetToolRequest, context: Any) -> pb.Tool:
        tool_id = ids.TOOL.parse(request.id)
        async with self._acquire() as work:
            if tool_id in BUILTINS:
                return convert.pinned(await tools.pinned(work, tool_id))
            return convert.tool(await tools.get(work, tool_id))

    async def UpdateTool(self, request: pb.UpdateToolRequest, context: Any) -> pb.Tool:
        given = masked(request.tool, request.update_mask, allowed=(*convert.DEFINITION_FIELDS, "disabled"))
        disabled = request.tool.disabled if "disabled" in given else None
        changes = {name: convert.definition_field(request.tool, name) for name in given if name != "disabled"}
        async with self._acquire() as work:
            row = await tools.update(work, ids.TOOL.parse(request.tool.id), changes=changes, disabled=disabled)
            return work.reply(convert.tool(row))

    async def DeleteTool(self, request: pb.DeleteToolRequest, context: Any) -> Empty:
        async with self._acquire() as work:
            await tools.delete(work, ids.TOOL.parse(request.id))
            return work.reply(Empty())

    async def ExecuteTool(self, request: pb.ExecuteToolRequest, context: Any) -> pb.ToolExecution:
        return convert.execution(await self._execute(ids.TOOL.parse(request.id), MessageToDict(request.arguments)))

    async def ListToolExecutions(
        self, request: pb.ListToolExecutionsRequest, context: Any
    ) -> pb.ListToolExecutionsResponse:
        async with self._acquire() as work:
            page = await work.executions.page_newest_first(
                tool_id=_optional(ids.TOOL.parse, request.tool_id, "tool_id"),
                run_id=_optional(ids.RUN.parse, request.run_id, "run_id"),
                page_size=request.page_size,
                page_token=request.page_token,
            )
            return pb.ListToolExecutionsResponse(
                tool_executions=[convert.execution(row) for row in page.items], next_page_token=page.next_page_token
            )

    async def GetToolExecution(self, request: pb.GetToolExecutionRequest, context: Any) -> pb.ToolExecution:
        execution_id = ids.EXECUTION.parse(request.id)
        async with self._acquire() as work:
            row = await work.executions.get(execution_id)
            if row is None:
                raise ExecutionNotFound(id=request.id)
            return convert.execution(row)


def _optional(parse: Any, text: str, field: str) -> UUID | None:
    return parse(text, field=field) if text else None
