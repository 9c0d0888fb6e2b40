"""The journal's writer: what is joined, what is sent at once, what a lost lease refuses."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from agent.application.journal import COALESCED_BYTES, JournalWriter, LeaseLost, RunJournal
from agent.domain.journal import Reading, read_answer
from agent.domain.ports import JournalEvent
from agent.repositories import Claim
from agent.unit_of_work import AgentUnitOfWork
from chassis.data.unit_of_work import Acquire

PLACE = {"step": 1, "attempt": 1}


class FakeTable:
    """A journal table in memory, with the fence that the real one has."""

    def __init__(self) -> None:
        self.statements: list[list[JournalEvent]] = []
        self.epochs: dict[UUID, int] = {}
        self.failures = 0
        self.delay_seconds = 0.0

    async def append(self, batch: Sequence[tuple[Claim, JournalEvent]]) -> set[UUID]:
        await asyncio.sleep(self.delay_seconds)
        if self.failures:
            self.failures -= 1
            raise OSError("away")
        held = [(claim, event) for claim, event in batch if self.epochs.get(claim.run_id, claim.epoch) == claim.epoch]
        self.statements.append([event for _, event in held])
        return {claim.run_id for claim, _ in held}

    @property
    def journal_table(self) -> "FakeTable":
        return self

    @asynccontextmanager
    async def machinery(self) -> AsyncIterator["FakeTable"]:
        yield self

    @property
    def events(self) -> list[JournalEvent]:
        return [event for statement in self.statements for event in statement]


class FakeTail:
    def __init__(self) -> None:
        self.announced: list[JournalEvent] = []

    async def announce(self, run_id: UUID, events: Sequence[JournalEvent]) -> None:
        self.announced.extend(events)


@asynccontextmanager
async def writing(table: FakeTable, tail: FakeTail) -> AsyncIterator[JournalWriter]:
    writer = JournalWriter(cast("Acquire[AgentUnitOfWork]", table), cast("Any", tail), tick=timedelta(milliseconds=30))
    task = asyncio.create_task(writer.run())
    yield writer
    task.cancel()


def a_journal(writer: JournalWriter) -> RunJournal:
    claim = Claim(organization_id=uuid4(), run_id=uuid4(), epoch=1, cancel_requested=False)
    return writer.open(claim, last_seq=0)


@pytest.fixture
def table() -> FakeTable:
    return FakeTable()


@pytest.fixture
def tail() -> FakeTail:
    return FakeTail()


class TestJournalWriter:
    async def test_writes_the_first_piece_at_once_and_joins_the_next(self, table: FakeTable, tail: FakeTail) -> None:
        async with writing(table, tail) as writer:
            journal = a_journal(writer)
            journal.append_delta("message.delta", PLACE, "a")
            await asyncio.sleep(0.01)
            assert [event.data["text"] for event in table.events] == ["a"]
            for letter in "bcd":
                journal.append_delta("message.delta", PLACE, letter)
            await asyncio.sleep(0.06)

        assert [event.data["text"] for event in table.events] == ["a", "bcd"]

    async def test_does_not_wait_for_the_tick_with_512_bytes(self, table: FakeTable, tail: FakeTail) -> None:
        async with writing(table, tail) as writer:
            journal = a_journal(writer)
            journal.append_delta("message.delta", PLACE, "a")
            await asyncio.sleep(0.005)
            journal.append_delta("message.delta", PLACE, "b" * 300)
            journal.append_delta("message.delta", PLACE, "c" * (COALESCED_BYTES - 300))
            await asyncio.sleep(0.01)

            assert len(table.events) == 2

    async def test_joins_nothing_across_another_event_or_attempt(self, table: FakeTable, tail: FakeTail) -> None:
        async with writing(table, tail) as writer:
            journal = a_journal(writer)
            journal.append_delta("message.delta", PLACE, "a")
            journal.append("message.citation", PLACE)
            journal.append_delta("message.delta", PLACE, "b")
            journal.append_delta("message.delta", {"step": 1, "attempt": 2}, "c")
            await asyncio.sleep(0.05)

        assert [event.seq for event in table.events] == [1, 2, 3, 4]

    async def test_writes_many_runs_in_one_statement(self, table: FakeTable, tail: FakeTail) -> None:
        async with writing(table, tail) as writer:
            journals = [a_journal(writer) for _ in range(50)]
            for journal in journals:
                journal.append("run.started", {})
            await asyncio.sleep(0.05)

        assert [len(statement) for statement in table.statements] == [50]

    async def test_announces_only_what_is_written(self, table: FakeTable, tail: FakeTail) -> None:
        async with writing(table, tail) as writer:
            journal = a_journal(writer)
            table.epochs[journal.claim.run_id] = 2
            journal.append("run.started", {})
            await asyncio.sleep(0.02)

            assert (table.events, tail.announced) == ([], [])
            with pytest.raises(LeaseLost):
                await journal.take()

    async def test_keeps_order_and_numbers_over_a_failure(self, table: FakeTable, tail: FakeTail) -> None:
        table.failures = 1
        async with writing(table, tail) as writer:
            journal = a_journal(writer)
            journal.append("a", {})
            await asyncio.sleep(0.02)
            journal.append("b", {})
            await asyncio.sleep(0.7)

        assert [(event.seq, event.type) for event in tail.announced] == [(1, "a"), (2, "b")]

    async def test_gives_what_is_not_written_to_who_takes_it(self, table: FakeTable, tail: FakeTail) -> None:
        async with writing(table, tail) as writer:
            journal = a_journal(writer)
            journal.append("a", {})
            taken = await journal.take()
            await asyncio.sleep(0.02)

        assert ([event.type for event in taken], table.events) == (["a"], [])

    async def test_leaves_alone_what_somebody_waits_to_take(self, table: FakeTable, tail: FakeTail) -> None:
        table.delay_seconds = 0.05
        async with writing(table, tail) as writer:
            journal = a_journal(writer)
            journal.append("a", {})
            await asyncio.sleep(0.02)
            journal.append("run.completed", {})
            taken = await journal.take()
            await asyncio.sleep(0.1)

        assert ([event.type for event in taken], [event.type for event in table.events]) == (["run.completed"], ["a"])


class TestReadAnswer:
    def test_leaves_out_what_a_restart_voids(self, table: FakeTable) -> None:
        def event(seq: int, kind: str, **data: Any) -> JournalEvent:
            return JournalEvent(seq=seq, type=kind, data=data, time=cast("Any", None))

        reading = read_answer(
            [
                event(1, "message.delta", step=1, attempt=1, text="One. "),
                event(2, "message.delta", step=3, attempt=1, text="Tw"),
                event(3, "message.citation", step=3, attempt=1, index=1),
                event(4, "step.restarted", step=3, attempt=2),
                event(5, "message.delta", step=3, attempt=2, text="Three."),
            ]
        )

        assert reading == Reading(text="One. Three.", citations=[])
