"""Setting money aside and settling what was spent. No limits are configured, so every reservation is granted whole."""

from datetime import timedelta
from uuid import UUID

from org.domain.errors import BudgetReservationClosed, BudgetReservationNotFound
from org.unit_of_work import OrgUnitOfWork

USUAL_HOLD = timedelta(minutes=15)
LONGEST_HOLD = timedelta(days=1)


async def reserve(
    work: OrgUnitOfWork, *, reservation_id: UUID, principal: str, agent_id: str, amount_nano_usd: int, ttl: timedelta
) -> int:
    """Set an amount aside and answer what was granted; repeating prolongs the hold.

    Raises BudgetReservationClosed when the hold of that id has ended.
    """
    granted = await work.budgets.hold(
        reservation_id,
        principal=principal,
        agent_id=agent_id,
        amount_nano_usd=amount_nano_usd,
        ttl=min(ttl, LONGEST_HOLD) if ttl > timedelta(0) else USUAL_HOLD,
    )
    if granted is None:
        raise BudgetReservationClosed()
    return granted


async def settle(work: OrgUnitOfWork, *, reservation_id: UUID, actual_nano_usd: int) -> int:
    """Say what was spent and answer the amount that counts. Raises BudgetReservationNotFound."""
    settled = await work.budgets.settle(reservation_id, actual_nano_usd=actual_nano_usd)
    if settled is None:
        raise BudgetReservationNotFound()
    return settled
