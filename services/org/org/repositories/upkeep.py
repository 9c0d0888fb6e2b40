"""What time does to rows, whosever they are."""

from datetime import timedelta

from sqlalchemy import (
    delete,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from org import models
from org.domain import job_views


class UpkeepRepository:
    """What time does to rows of all organizations; works in a transaction of the machinery role only."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def expire_holds_across_organizations(self, *, limit: int) -> int:
        """End holds whose time is over. Answers how many."""
        held = models.BudgetReservation
        over = (
            select(held.organization_id, held.id)
            .where(held.state == "HELD", held.expire_time <= func.now())
            .order_by(held.expire_time)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("over")
        )
        statement = (
            update(held)
            .where(held.organization_id == over.c.organization_id, held.id == over.c.id)
            .values(state="EXPIRED")
            .returning(held.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self._session.execute(statement)).all())

    async def discard_feed_across_organizations(self, *, older_than: timedelta) -> None:
        """Forget events recorded too long ago. Their numbers are not given again."""
        entry = models.FeedEntry
        await self._session.execute(delete(entry).where(entry.record_time < func.now() - older_than))

    async def discard_jobs_across_organizations(self, *, older_than: timedelta) -> None:
        """Forget jobs that finished too long ago."""
        job = models.JobView
        finished = job.state.in_(sorted(job_views.FINISHED))
        await self._session.execute(delete(job).where(finished, job.end_time < func.now() - older_than))
