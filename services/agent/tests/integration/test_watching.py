"""Watching runs: resumed anywhere, on any replica, with and without the broker."""

import asyncio
from contextlib import aclosing
from itertools import pairwise

from agent.adapters.tail import NatsTail
from chassis.rpc.caller import Caller
from chassis.settings import NatsSettings
from chassis.testing import eventually
from definable.agent.v1 import run_service_pb2 as pb
from definable.agent.v1.definition_pb2 import RunLimits

from .running import Event, Fleet, call, fleet, replica, say, script, text_of  # noqa: TID252

TALK = script(say("one two three four five six seven eight"), delay_ms=15)


class TestResume:
    async def test_joins_to_the_whole_wherever_it_was_cut(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, "penguins huddle", knows=True)
        whole = await agent.events(owner, run_id)

        for cut in range(len(whole)):
            assert whole[:cut] + await agent.events(owner, run_id, after=cut) == whole

    async def test_goes_on_during_the_run_where_the_connection_was_cut(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, TALK)
        first = list[Event]()
        async with aclosing(agent.watch(owner, run_id)) as stream:  # type: ignore[type-var]  # it is a generator
            async for event in stream:
                first.append(event)
                if sum(event.type == "message.delta" for event in first) == 3:
                    break

        rest = await agent.events(owner, run_id, after=first[-1].seq)

        joined = first + rest
        assert [event.seq for event in joined] == list(range(1, len(joined) + 1))
        assert text_of(joined) == "one two three four five six seven eight"
        assert joined == await agent.events(owner, run_id)

    async def test_gives_nothing_after_the_end(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, "Hello")
        events = await agent.events(owner, run_id)

        assert await agent.events(owner, run_id, after=events[-1].seq) == []
        assert await agent.events(owner, run_id, after=10_000) == []

    async def test_reads_a_journal_longer_than_a_page(self, agent: Fleet, owner: Caller) -> None:
        calls = [call("knowledge_search", query=f"penguins {number}") for number in range(90)]
        run_id = await agent.start(owner, script(*calls, say("Done.")), knows=True, limits=RunLimits(max_steps=200))
        live = await agent.events(owner, run_id)

        assert len(live) > 500
        assert await agent.events(owner, run_id) == live


class TestReplicas:
    async def test_streams_from_a_replica_that_does_not_run_it(self, agent: Fleet, owner: Caller) -> None:
        async with replica(agent, worker={"capacity": 0}) as other:
            run_id = await other.start(owner, TALK)
            here, there = await asyncio.gather(agent.events(owner, run_id), other.events(owner, run_id))

        assert here == there
        assert text_of(there) == "one two three four five six seven eight"

    async def test_carries_words_as_they_come(self, agent: Fleet, owner: Caller) -> None:
        async with replica(agent, worker={"capacity": 0}) as other:
            await eventually(lambda: _is_connected(other))
            run_id = await other.start(owner, script(say("word " * 30), delay_ms=40))
            loop, arrivals = asyncio.get_running_loop(), list[float]()
            async for event in other.watch(owner, run_id):
                if event.type == "message.delta":
                    arrivals.append(loop.time())

        gaps = sorted(later - earlier for earlier, later in pairwise(arrivals))
        assert len(arrivals) > 20
        assert gaps[len(gaps) // 2] < 0.15

    async def test_runs_and_streams_without_a_broker(self, owner: Caller) -> None:
        async with fleet(nats=NatsSettings()) as alone, replica(alone, worker={"capacity": 0}) as other:
            run_id = await other.start(owner, TALK)
            events = await other.events(owner, run_id)

        assert events[-1].type == "run.completed"
        assert text_of(events) == "one two three four five six seven eight"

    async def test_runs_and_streams_with_a_broker_that_is_away(self, owner: Caller) -> None:
        async with fleet(nats=NatsSettings(url="nats://127.0.0.1:1")) as alone:
            events = await alone.run(owner, TALK)

        assert events[-1].type == "run.completed"


async def _is_connected(of: Fleet) -> bool:
    tail = next(item for item in of.agent.service.background if isinstance(item, NatsTail))
    return tail.is_connected


class TestMany:
    async def test_streams_fifty_runs_at_once(self, agent: Fleet, owner: Caller) -> None:
        text = script(say("alpha beta gamma delta epsilon " * 4), delay_ms=10)
        run_ids = [await agent.start(owner, text) for _ in range(50)]

        streams = await asyncio.gather(*(agent.events(owner, run_id) for run_id in run_ids))

        for events in streams:
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            assert text_of(events) == "alpha beta gamma delta epsilon " * 4

    async def test_leaving_does_not_cancel(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, TALK)
        await agent.until(owner, run_id, "message.delta")

        assert (await agent.events(owner, run_id))[-1].type == "run.completed"
        assert (await agent.get(owner, run_id)).state == pb.RUN_STATE_COMPLETED
