"""The org service's budgets over gRPC."""

from datetime import timedelta
from uuid import UUID

from google.protobuf.duration_pb2 import Duration

from chassis.rpc.client import Peers
from definable.org.v1.budget_service_pb2 import ReserveBudgetRequest, SettleBudgetRequest
from definable.org.v1.budget_service_pb2_grpc import BudgetServiceStub

# Budgets are soft while org is away: it is not waited for.
_PATIENCE_SECONDS = 2.0


class OrgGrpc:
    """domain.ports.Budget over the peer named "org"."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def _stub(self) -> BudgetServiceStub:
        return self._peers.stub(BudgetServiceStub, "org")

    async def reserve(
        self, *, reservation_id: UUID, principal: str, agent_id: str, amount_nano_usd: int, ttl: timedelta
    ) -> int:
        lifetime = Duration()
        lifetime.FromTimedelta(ttl)
        request = ReserveBudgetRequest(
            reservation_id=str(reservation_id),
            principal=principal,
            agent_id=agent_id,
            amount_nano_usd=amount_nano_usd,
            ttl=lifetime,
        )
        reply = await self._stub().ReserveBudget(request, timeout=_PATIENCE_SECONDS)
        return reply.granted_nano_usd

    async def settle(self, *, reservation_id: UUID, actual_nano_usd: int) -> None:
        request = SettleBudgetRequest(reservation_id=str(reservation_id), actual_nano_usd=actual_nano_usd)
        await self._stub().SettleBudget(request, timeout=_PATIENCE_SECONDS)
