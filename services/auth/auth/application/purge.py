"""Throwing away what has been of no use for long."""

import asyncio
from datetime import timedelta

import structlog

from auth.application.issuer import wait
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import DependencyUnavailable

PURGE_INTERVAL = timedelta(hours=1)
_log = structlog.get_logger(__name__)


class Purge:
    """Deletes spent tokens, ended sessions, old revocations and counters once an hour."""

    def __init__(self, acquire: Acquire[AuthUnitOfWork]) -> None:
        self._acquire = acquire

    async def run(self, stop: asyncio.Event) -> None:
        """Purge until told to stop."""
        while not stop.is_set():
            await wait(stop, PURGE_INTERVAL)
            if not stop.is_set():
                await self.once()

    async def once(self) -> None:
        """Purge now."""
        try:
            async with self._acquire.anonymous() as work:
                await work.lookups.purge(work.now())
        except DependencyUnavailable:
            _log.warning("purge_skipped")
