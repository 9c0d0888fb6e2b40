"""BudgetService: what those who spend ask."""

from uuid import UUID

from chassis.data.unit_of_work import Acquire
from chassis.rpc.server import Context
from definable.org.v1.budget_service_pb2 import (
    ReserveBudgetRequest,
    ReserveBudgetResponse,
    SettleBudgetRequest,
    SettleBudgetResponse,
)
from definable.org.v1.budget_service_pb2_grpc import BudgetServiceServicer
from org.application import budgets
from org.unit_of_work import OrgUnitOfWork


class Budgets(BudgetServiceServicer):
    """Reserves and settles."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork]) -> None:
        self._acquire = acquire

    async def ReserveBudget(self, request: ReserveBudgetRequest, context: Context) -> ReserveBudgetResponse:
        async with self._acquire() as work:
            granted = await budgets.reserve(
                work,
                reservation_id=UUID(request.reservation_id),
                principal=request.principal,
                agent_id=request.agent_id,
                amount_nano_usd=request.amount_nano_usd,
                ttl=request.ttl.ToTimedelta(),
            )
            return work.reply(ReserveBudgetResponse(granted_nano_usd=granted))

    async def SettleBudget(self, request: SettleBudgetRequest, context: Context) -> SettleBudgetResponse:
        async with self._acquire() as work:
            settled = await budgets.settle(
                work, reservation_id=UUID(request.reservation_id), actual_nano_usd=request.actual_nano_usd
            )
            return work.reply(SettleBudgetResponse(settled_nano_usd=settled))
