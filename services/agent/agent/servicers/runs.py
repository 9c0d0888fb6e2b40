"""Runs over gRPC."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from agent import convert
from agent.application import runs
from agent.application.watching import WatchRun
from agent.domain import ids
from agent.domain.models import ModelCatalogue
from agent.domain.ports import RunEngine
from agent.unit_of_work import AgentUnitOfWork
from chassis.data.pagination import page_limit
from chassis.data.unit_of_work import Acquire
from chassis.errors import PageTokenInvalid
from chassis.rpc.server import Context
from definable.agent.v1 import run_service_pb2 as pb
from definable.agent.v1.run_service_pb2_grpc import RunServiceServicer


class Runs(RunServiceServicer):
    """Implements RunService."""

    def __init__(
        self, acquire: Acquire[AgentUnitOfWork], models: ModelCatalogue, engine: RunEngine, watch: WatchRun
    ) -> None:
        self._acquire = acquire
        self._models = models
        self._engine = engine
        self._watch = watch

    async def StartRun(self, request: pb.StartRunRequest, context: Context) -> pb.Run:
        run_id = ids.RUN.parse(request.run_id, field="run_id")
        origin = runs.Origin(
            conversation_id=ids.CONVERSATION.parse(request.conversation_id, field="conversation_id"),
            message_id=ids.MESSAGE.parse(request.message_id, field="message_id"),
        )
        answerer, history = convert.read_answerer(request), convert.read_history(request)
        async with self._acquire() as work:
            run = await runs.start(
                work,
                self._models,
                answerer=answerer,
                history=history,
                input=request.input,
                run_id=run_id,
                origin=origin,
            )
            reply = work.reply(convert.run(run))
        await self._engine.wake()
        return reply

    async def CreateRun(self, request: pb.CreateRunRequest, context: Context) -> pb.CreateRunResponse:
        answerer = convert.read_answerer(request, version=request.agent_version)
        history = convert.read_history(request)
        async with self._acquire() as work:
            run = await runs.start(work, self._models, answerer=answerer, history=history, input=request.input)
            reply = work.reply(pb.CreateRunResponse(run_id=ids.RUN.show(run.id), run=convert.run(run)))
        await self._engine.wake()
        return reply

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.Run:
        run_id = ids.RUN.parse(request.id)
        async with self._acquire() as work:
            return convert.run(await runs.get(work, run_id))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        agent_id = ids.AGENT.parse(request.agent_id, field="agent_id") if request.agent_id else None
        async with self._acquire() as work:
            page = await work.runs.page_of(
                runs.viewer_of(work),
                agent_id=agent_id,
                state=convert.read_run_state(request.state),
                page_size=request.page_size,
                page_token=request.page_token,
            )
            return pb.ListRunsResponse(
                runs=[convert.run(run, with_content=False) for run in page.items], next_page_token=page.next_page_token
            )

    async def ListRunSteps(self, request: pb.ListRunStepsRequest, context: Context) -> pb.ListRunStepsResponse:
        run_id = ids.RUN.parse(request.run_id, field="run_id")
        after, limit = _after(request.page_token), page_limit(request.page_size)
        async with self._acquire() as work:
            await runs.get(work, run_id)
            steps = await work.run_steps.page_of(run_id, after=after, page_size=limit + 1)
            more = str(steps[limit - 1].step) if len(steps) > limit else ""
            return pb.ListRunStepsResponse(
                steps=[convert.run_step(step) for step in steps[:limit]], next_page_token=more
            )

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.RunEvent]:
        run_id = ids.RUN.parse(request.run_id, field="run_id")
        async with aclosing(self._watch(run_id, after=request.after)) as events:
            async for event in events:
                yield convert.run_event(event)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.Run:
        run_id = ids.RUN.parse(request.id)
        async with self._acquire() as work:
            reply = work.reply(convert.run(await runs.cancel(work, run_id)))
        await self._engine.wake()
        return reply

    async def ResolveRun(self, request: pb.ResolveRunRequest, context: Context) -> pb.Run:
        run_id = ids.RUN.parse(request.id)
        approved = request.decision == pb.RUN_DECISION_APPROVE
        async with self._acquire() as work:
            reply = work.reply(
                convert.run(await runs.resolve(work, run_id, call_id=request.call_id, approved=approved))
            )
        await self._engine.wake()
        return reply

    async def GetRunOutput(self, request: pb.GetRunOutputRequest, context: Context) -> pb.RunOutput:
        run_id = ids.RUN.parse(request.run_id, field="run_id")
        async with self._acquire() as work:
            run = await runs.get_of_anybody(work, run_id)
            return convert.run_output(run, await runs.answer_so_far(work, run))


def _after(page_token: str) -> int:
    """Read a token of ListRunSteps: the last step of the page before."""
    if not page_token:
        return 0
    if not page_token.isascii() or not page_token.isdigit() or len(page_token) > 6:
        raise PageTokenInvalid
    return int(page_token)
