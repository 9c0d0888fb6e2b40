"""Counting attempts before they are examined, so that many at once don't slip through."""

from datetime import UTC, datetime

from auth.application.issuer import KeyRing
from auth.domain.throttles import Limit
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import RateLimited


class Throttling:
    """Counters shared by all replicas."""

    def __init__(self, acquire: Acquire[AuthUnitOfWork], keys: KeyRing) -> None:
        self._acquire = acquire
        self._keys = keys

    async def count(self, *attempts: tuple[Limit, str]) -> None:
        """Count one attempt for each subject. Raises RateLimited, with the time to wait, when one has had too many."""
        waits = []
        async with self._acquire.anonymous() as work:
            for limit, subject in attempts:
                key = limit.key(subject, pepper=self._keys.pepper)
                counted, window_end = await work.throttles.count(key=key, window=limit.window, now=work.now())
                if counted > limit.attempts:
                    waits.append(window_end)
        if waits:
            raise RateLimited(retry_after=max(waits) - datetime.now(UTC))

    async def forgive(self, *, account: tuple[Limit, str], address: tuple[Limit, str]) -> None:
        """After a success: forget the account's failures, and take back what the address was charged for this one."""
        async with self._acquire.anonymous() as work:
            await work.throttles.clear(account[0].key(account[1], pepper=self._keys.pepper))
            await work.throttles.give_back(address[0].key(address[1], pepper=self._keys.pepper))
