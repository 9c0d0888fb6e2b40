"""What org does by the clock."""

import asyncio
from datetime import timedelta

from chassis.data.unit_of_work import Acquire
from chassis.errors import DependencyUnavailable
from chassis.messaging.background import Trouble, stopped_within
from org.application.feed import KEPT
from org.domain.job_views import KEPT as JOBS_KEPT
from org.unit_of_work import OrgUnitOfWork

_HOLDS_AT_ONCE = 500


class Upkeep:
    """Expires holds whose lease ran out and discards what was kept long enough. Any number of replicas may do it."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork], *, interval: timedelta) -> None:
        self._acquire = acquire
        self._interval = interval

    async def run(self, stop: asyncio.Event) -> None:
        """Do the upkeep until stopped; what fails now is done the next time."""
        trouble = Trouble("org.upkeep")
        while not stop.is_set():
            try:
                await self.once()
                trouble.worked()
            except DependencyUnavailable as error:
                trouble.failed(error)
            await stopped_within(stop, self._interval.total_seconds())

    async def once(self) -> None:
        """Do the upkeep of this moment, in short transactions."""
        expired = _HOLDS_AT_ONCE
        while expired == _HOLDS_AT_ONCE:
            async with self._acquire.machinery() as work:
                expired = await work.upkeep.expire_holds_across_organizations(limit=_HOLDS_AT_ONCE)
        async with self._acquire.machinery() as work:
            await work.upkeep.discard_feed_across_organizations(older_than=KEPT)
        async with self._acquire.machinery() as work:
            await work.upkeep.discard_jobs_across_organizations(older_than=JOBS_KEPT)
