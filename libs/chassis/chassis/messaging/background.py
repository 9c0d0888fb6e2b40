"""What the loops behind a service share: bells that wake them, and trouble that they outlive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chassis import telemetry

log = telemetry.get_logger(__name__)


class Bell:
    """Wakes one loop. Ringing while nobody waits is remembered once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake the loop, now or as soon as it waits."""
        self._event.set()

    async def wait(self, *, timeout: float) -> bool:
        """Wait until it rings, at most `timeout` seconds; return whether it rang."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout)
        except TimeoutError:
            return False
        self._event.clear()
        return True


@asynccontextmanager
async def ringing_at(stop: asyncio.Event, *bells: Bell) -> AsyncIterator[None]:
    """Ring the bells when `stop` is set, so that a loop that waits for one ends at once."""

    async def ring_all() -> None:
        await stop.wait()
        for bell in bells:
            bell.ring()

    task = asyncio.create_task(ring_all())
    try:
        yield
    finally:
        await cancelled(task)


async def stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    """Wait, at most so many seconds, and return whether the process is to stop."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def cancelled(*tasks: asyncio.Task[Any]) -> None:  # Any: whatever they return
    """Cancel tasks and wait for their end, whatever it is."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Trouble:
    """Says once that something began to fail, and once that it works again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0

    @property
    def is_on(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next attempt: a quarter of a second, doubling up to 5 seconds."""
        return float(min(0.25 * 2**self._failures, 5.0))

    def failed(self, error: BaseException) -> None:
        """Count a failure."""
        if self._failures == 0:
            log.warning("background.trouble", what=self._what, error=type(error).__name__, detail=str(error)[:200])
        self._failures += 1

    def worked(self) -> None:
        """End the trouble."""
        if self._failures:
            log.info("background.recovered", what=self._what, failures=self._failures)
        self._failures = 0
