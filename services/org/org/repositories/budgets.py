"""Reservations."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import (
    and_,
    func,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from chassis.data.repository import Repository
from org import models


class BudgetRepository(Repository[models.BudgetReservation]):
    """Money set aside. Each change is one statement: callers race and repeat themselves."""

    model = models.BudgetReservation

    async def hold(
        self,
        reservation_id: UUID,
        *,
        principal: str,
        agent_id: str,
        amount_nano_usd: int,
        ttl: timedelta,
    ) -> int | None:
        """Set an amount aside, or prolong the hold of that id. Answers what is granted, None when the hold ended."""
        held = models.BudgetReservation
        statement = upsert(held).values(
            organization_id=self.organization_id,
            id=reservation_id,
            state="HELD",
            principal=principal,
            agent_id=agent_id,
            granted_nano_usd=amount_nano_usd,
            create_time=func.now(),
            expire_time=func.now() + ttl,
        )
        statement = statement.on_conflict_do_update(
            index_elements=[held.organization_id, held.id],
            set_={"expire_time": statement.excluded.expire_time},
            where=and_(held.state == "HELD", held.expire_time > func.now()),
        )
        granted = await self.session.scalar(statement.returning(held.granted_nano_usd))
        return None if granted is None else int(granted)

    async def settle(self, reservation_id: UUID, *, actual_nano_usd: int) -> int | None:
        """Store what was spent; the first amount stays. Answers the amount that counts, None for an unknown id."""
        held = models.BudgetReservation
        statement = (
            update(held)
            .where(held.organization_id == self.organization_id, held.id == reservation_id)
            .values(
                state="SETTLED",
                actual_nano_usd=func.coalesce(held.actual_nano_usd, actual_nano_usd),
                settle_time=func.coalesce(held.settle_time, func.now()),
            )
            .returning(held.actual_nano_usd)
            .execution_options(synchronize_session=False)
        )
        settled = await self.session.scalar(statement)
        return None if settled is None else int(settled)
