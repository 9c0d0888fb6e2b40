"""No network inside a unit of work."""

import asyncio

import pytest

from chassis.boundary import NetworkInsideUnitOfWork, entering_network, inside_unit_of_work, is_unit_of_work_open


class TestEnteringNetwork:
    def test_passes_outside(self) -> None:
        entering_network("kb")

    def test_raises_inside_and_names_who_was_called(self) -> None:
        with inside_unit_of_work(), pytest.raises(NetworkInsideUnitOfWork, match="storage"):
            entering_network("storage")

    def test_passes_again_afterwards_also_when_the_unit_failed(self) -> None:
        with pytest.raises(ValueError, match="broken"), inside_unit_of_work():
            raise ValueError("broken")

        assert not is_unit_of_work_open()

    async def test_is_open_for_tasks_started_inside_and_closed_for_them_when_it_ends(self) -> None:
        seen = []
        ended = asyncio.Event()

        async def look() -> None:
            seen.append(is_unit_of_work_open())
            await ended.wait()
            seen.append(is_unit_of_work_open())

        with inside_unit_of_work():
            task = asyncio.create_task(look())
            await asyncio.sleep(0)
        ended.set()
        await task

        assert seen == [True, False]

    async def test_leaves_other_tasks_alone(self) -> None:
        entered, left = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            with inside_unit_of_work():
                entered.set()
                await left.wait()

        task = asyncio.create_task(hold())
        await entered.wait()

        entering_network("kb")

        left.set()
        await task
