"""Stand-ins for the peers: real gRPC servers that hold what a test puts into them."""

import asyncio
from collections.abc import Iterator

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct, Value

from agent.domain import ids
from chassis.errors import DependencyUnavailable, FailedPrecondition, NotFound, ResourceExhausted
from chassis.ids import IdKind, new_id
from chassis.rpc.caller import current_caller
from chassis.rpc.server import Context
from definable.kb.v1 import knowledge_base_service_pb2 as base_pb
from definable.kb.v1 import search_service_pb2 as search_pb
from definable.kb.v1.knowledge_base_service_pb2_grpc import KnowledgeBaseServiceServicer
from definable.kb.v1.search_service_pb2_grpc import SearchServiceServicer
from definable.org.v1 import budget_service_pb2 as budget_pb
from definable.org.v1.budget_service_pb2_grpc import BudgetServiceServicer
from definable.tool.v1 import run_tool_service_pb2 as run_tool_pb
from definable.tool.v1 import tool_service_pb2 as tool_pb
from definable.tool.v1.run_tool_service_pb2_grpc import RunToolServiceServicer

DOCUMENT = IdKind("doc")

TEXT = (
    "Emperor penguins huddle to keep warm. They take turns in the middle of the huddle.\n"
    "Ducks swim on ponds. Their feathers are oiled.\n"
    "Ostriches run at seventy kilometres an hour. They cannot fly."
)


class KnowledgeBaseNotFound(NotFound):
    """No knowledge base with this id."""

    reason = "KNOWLEDGE_BASE_NOT_FOUND"


class ToolNotFound(NotFound):
    """No tool with this id."""

    reason = "TOOL_NOT_FOUND"


class ExecutionOutcomeUnknown(FailedPrecondition):
    """An execution was started and never finished."""

    reason = "EXECUTION_OUTCOME_UNKNOWN"


class BudgetExceeded(ResourceExhausted):
    """The budget is spent."""

    reason = "BUDGET_EXCEEDED"


class FakeKb(SearchServiceServicer, KnowledgeBaseServiceServicer):
    """One knowledge base with one document, whose lines are its chunks."""

    def __init__(self) -> None:
        self.base_id = ids.KNOWLEDGE_BASE.show(new_id())
        self.document_id = DOCUMENT.show(new_id())
        self.searches: list[search_pb.SearchKnowledgeBasesRequest] = []
        self.callers: list[str] = []
        self.failures = 0

    async def SearchKnowledgeBases(
        self, request: search_pb.SearchKnowledgeBasesRequest, context: Context
    ) -> search_pb.SearchKnowledgeBasesResponse:
        self.searches.append(request)
        self.callers.append(current_caller().subject)
        if self.failures:
            self.failures -= 1
            raise DependencyUnavailable(dependency="embeddings")
        if list(request.knowledge_base_ids) != [self.base_id]:
            raise KnowledgeBaseNotFound
        words = request.query.lower().split()
        ranked = sorted(self._chunks(), key=lambda hit: -sum(word in hit.text.lower() for word in words))
        return search_pb.SearchKnowledgeBasesResponse(hits=ranked[: request.top_k])

    def _chunks(self) -> Iterator[search_pb.SearchHit]:
        start = 0
        for line in TEXT.split("\n"):
            yield search_pb.SearchHit(
                knowledge_base_id=self.base_id,
                document_id=self.document_id,
                chunk_id=f"chunk_{start}",
                document_title="Birds",
                document_version=3,
                page=1,
                start=start,
                end=start + len(line),
                text=line,
                score=0.5,
            )
            start += len(line) + 1

    async def GetKnowledgeBase(
        self, request: base_pb.GetKnowledgeBaseRequest, context: Context
    ) -> base_pb.KnowledgeBase:
        if request.id != self.base_id:
            raise KnowledgeBaseNotFound
        return base_pb.KnowledgeBase(id=self.base_id)


class FakeTools(RunToolServiceServicer):
    """A calculator, a slow tool that must not be repeated, and one that needs approval."""

    def __init__(self) -> None:
        self.tools = {
            name: run_tool_pb.RunTool(
                tool_id=ids.TOOL.show(new_id()), name=name, description=name, effect=effect, policy=policy, version=1
            )
            for name, effect, policy in (
                ("calculator", tool_pb.EFFECT_CLASS_PURE, tool_pb.TOOL_POLICY_ALLOW),
                ("book", tool_pb.EFFECT_CLASS_IDEMPOTENT, tool_pb.TOOL_POLICY_ALLOW),
                ("send_mail", tool_pb.EFFECT_CLASS_AT_MOST_ONCE, tool_pb.TOOL_POLICY_ALLOW),
                ("delete", tool_pb.EFFECT_CLASS_AT_MOST_ONCE, tool_pb.TOOL_POLICY_ASK),
                ("forbidden", tool_pb.EFFECT_CLASS_PURE, tool_pb.TOOL_POLICY_DENY),
            )
        }
        self.executions: list[run_tool_pb.ExecuteForRunRequest] = []
        self.failures: list[Exception] = []
        self.gate: asyncio.Event | None = None

    def id_of(self, name: str) -> str:
        return self.tools[name].tool_id

    def executed(self, run_id: str) -> list[run_tool_pb.ExecuteForRunRequest]:
        return [execution for execution in self.executions if execution.run_id == run_id]

    async def ListToolsForRun(
        self, request: run_tool_pb.ListToolsForRunRequest, context: Context
    ) -> run_tool_pb.ListToolsForRunResponse:
        known = {tool.tool_id: tool for tool in self.tools.values()}
        for tool_id in request.tool_ids:
            if tool_id not in known:
                raise ToolNotFound(id=tool_id)
        return run_tool_pb.ListToolsForRunResponse(tools=[known[tool_id] for tool_id in request.tool_ids])

    async def ExecuteForRun(
        self, request: run_tool_pb.ExecuteForRunRequest, context: Context
    ) -> run_tool_pb.ExecuteForRunResponse:
        self.executions.append(request)
        if self.failures:
            raise self.failures.pop(0)
        if self.gate is not None:
            await self.gate.wait()
        arguments = MessageToDict(request.arguments)
        if arguments.get("expression") == "1/0":
            return run_tool_pb.ExecuteForRunResponse(
                output=Value(string_value="Division by zero."), is_error=True, error_reason="TOOL_FAILED"
            )
        result = Struct()
        result.update({"value": 4, "arguments": arguments})
        return run_tool_pb.ExecuteForRunResponse(output=Value(struct_value=result), execution_id="exec_1")


class FakeOrg(BudgetServiceServicer):
    """A budget of so many nano-dollars; None for one without limit."""

    def __init__(self) -> None:
        self.budget: int | None = None
        self.reserved: dict[str, budget_pb.ReserveBudgetRequest] = {}
        self.settled: dict[str, int] = {}

    async def ReserveBudget(
        self, request: budget_pb.ReserveBudgetRequest, context: Context
    ) -> budget_pb.ReserveBudgetResponse:
        self.reserved[request.reservation_id] = request
        if self.budget is not None and request.amount_nano_usd > self.budget:
            raise BudgetExceeded
        return budget_pb.ReserveBudgetResponse(granted_nano_usd=request.amount_nano_usd)

    async def SettleBudget(
        self, request: budget_pb.SettleBudgetRequest, context: Context
    ) -> budget_pb.SettleBudgetResponse:
        self.settled[request.reservation_id] = request.actual_nano_usd
        return budget_pb.SettleBudgetResponse(settled_nano_usd=request.actual_nano_usd)
