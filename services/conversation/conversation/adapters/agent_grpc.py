"""The agent service over gRPC."""

from uuid import UUID

from google.protobuf.json_format import MessageToDict

from chassis.errors import FailedPrecondition, NotFound
from chassis.rpc.client import Peers, RemoteError
from conversation.domain import ids, states
from conversation.domain.ports import RunOutcome, RunRequest
from definable.agent.v1 import run_service_pb2 as run_pb
from definable.agent.v1.run_service_pb2_grpc import RunServiceStub

# States of a run as states of its answer; the rest are still in progress.
_STATES = {
    run_pb.RUN_STATE_REQUIRES_ACTION: states.REQUIRES_ACTION,
    run_pb.RUN_STATE_COMPLETED: states.COMPLETED,
    run_pb.RUN_STATE_FAILED: states.FAILED,
    run_pb.RUN_STATE_CANCELLED: states.CANCELLED,
}

_ROLES = {"user": run_pb.CHAT_ROLE_USER, "assistant": run_pb.CHAT_ROLE_ASSISTANT}


class AgentGrpc:
    """domain.ports.Agent over the peer named "agent"."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def _runs(self) -> RunServiceStub:
        return self._peers.stub(RunServiceStub, "agent")

    async def start_run(self, request: RunRequest) -> None:
        start = run_pb.StartRunRequest(
            run_id=ids.RUN.show(request.run_id),
            message_id=ids.MESSAGE.show(request.message_id),
            conversation_id=ids.CONVERSATION.show(request.conversation_id),
            history=[run_pb.ChatTurn(role=_ROLES[turn.role], text=turn.text) for turn in request.history],
            input=request.input,
        )
        if request.agent_id is not None:
            start.agent_id = ids.AGENT.show(request.agent_id)
        else:
            start.model = request.model
        await self._runs().StartRun(start)

    async def cancel_run(self, run_id: UUID) -> None:
        try:
            await self._runs().CancelRun(run_pb.CancelRunRequest(id=ids.RUN.show(run_id)))
        except RemoteError as error:
            if error.code not in (NotFound.code, FailedPrecondition.code):
                raise

    async def run_outcome(self, run_id: UUID) -> RunOutcome | None:
        try:
            output = await self._runs().GetRunOutput(run_pb.GetRunOutputRequest(run_id=ids.RUN.show(run_id)))
        except RemoteError as error:
            if error.code == NotFound.code:
                return None
            raise
        return RunOutcome(
            state=_STATES.get(output.state, states.IN_PROGRESS),
            text=output.text,
            citations=[MessageToDict(citation, preserving_proto_field_name=True) for citation in output.citations],
            error_reason=output.error_reason,
        )
