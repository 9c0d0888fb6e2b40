import asyncio

import pytest

from agent.application.claimed_run import Interrupted, Interrupter, Interruption
from agent.domain.errors import TimeLimitReached


class TestInterrupter:
    async def test_lets_work_finish(self) -> None:
        assert await Interrupter().guard(asyncio.sleep(0, "done"), seconds=1) == "done"

    async def test_ends_work_at_once_and_waits_until_it_has_cleaned_up(self) -> None:
        interrupter, cleaned = Interrupter(), list[str]()

        async def work() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                cleaned.append("connection")

        asyncio.get_running_loop().call_later(0.02, interrupter.interrupt, Interruption.CANCEL)
        with pytest.raises(Interrupted) as interrupted:
            await interrupter.guard(work(), seconds=5)

        assert interrupted.value.interruption is Interruption.CANCEL
        assert cleaned == ["connection"]

    async def test_ends_work_after_its_time(self) -> None:
        with pytest.raises(TimeLimitReached):
            await Interrupter().guard(asyncio.sleep(10), seconds=0.02)

    async def test_lets_a_lost_lease_override_a_cancellation(self) -> None:
        interrupter = Interrupter()
        interrupter.interrupt(Interruption.LEASE_LOST)
        interrupter.interrupt(Interruption.CANCEL)

        with pytest.raises(Interrupted) as interrupted:
            interrupter.check()
        assert interrupted.value.interruption is Interruption.LEASE_LOST

    async def test_raises_what_the_work_raises(self) -> None:
        async def work() -> None:
            raise ValueError("own")

        with pytest.raises(ValueError, match="own"):
            await Interrupter().guard(work(), seconds=1)
