"""Workers that die: runs go on where they were, nothing is done twice, no number is missing."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy import text

from agent.domain.ports import JournalEvent
from agent.unit_of_work import AgentUnitOfWork
from chassis.errors import FleetError
from chassis.rpc.caller import Caller
from chassis.settings import ServiceSettings
from chassis.testing import InProcessService, eventually
from definable.agent.v1 import run_service_pb2 as pb

from .running import QUICK_LEASES, Event, Fleet, call, fleet, replica, say, script, text_of  # noqa: TID252

LONG = "Every word of this answer comes with a pause so that there is time to die in the middle of it"

STEAL = "UPDATE agent.run_leases SET epoch = epoch + 1, worker = 'x', lease_until = now() + interval '1 s'"


@pytest.fixture
async def quick(owner: Caller) -> AsyncIterator[Fleet]:
    """A service that only serves, whose leases run out after a second: workers are started by the tests."""
    async with fleet(worker={**QUICK_LEASES, "capacity": 0}) as running:
        yield running


def check_journal(events: Sequence[Event]) -> None:
    """Assert what holds for every journal: no gap, one end, deltas of the last attempt only after its restart."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert sum(event.type in ("run.completed", "run.failed", "run.cancelled") for event in events) == 1
    attempts = Counter[int]()
    for event in events:
        if event.type == "step.restarted":
            attempts[event.data["step"]] += 1
        if event.type in ("message.delta", "message.citation", "usage", "step.completed"):
            assert event.data["attempt"] == attempts[event.data["step"]] + 1


@asynccontextmanager
async def process(of: Fleet) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a worker as a process of its own."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent", "serve", env={**os.environ, **environment(of.agent)}
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGKILL)
        await running.wait()


def environment(service: InProcessService) -> dict[str, str]:
    """Write the settings of a running service as variables."""
    settings: ServiceSettings = service.settings
    database, nats = settings.database, settings.nats
    return {
        "AGENT_DATABASE__HOST": database.host,
        "AGENT_DATABASE__PORT": str(database.port),
        "AGENT_DATABASE__NAME": database.name,
        "AGENT_DATABASE__APP_PASSWORD": database.app_password.get_secret_value(),
        "AGENT_DATABASE__MACHINERY_PASSWORD": database.machinery_password.get_secret_value(),
        "AGENT_NATS__URL": nats.url,
        "AGENT_NATS__USER": nats.user,
        "AGENT_NATS__PASSWORD": nats.password.get_secret_value(),
        "AGENT_KEYS__PRIVATE_KEY_FILE": str(settings.keys.private_key_file),
        "AGENT_WORKER__LEASE_SECONDS": "1",
        "AGENT_WORKER__HEARTBEAT_SECONDS": "0.3",
        "AGENT_LOG_LEVEL": "ERROR",
        **{f"AGENT_PEERS__{name.upper()}": address for name, address in settings.peers.items()},
    }


class TestKill:
    async def test_resumes_where_it_was(self, quick: Fleet, owner: Caller) -> None:
        talk = script(call("knowledge_search", query="ducks"), call("book"), say(f"{LONG} [1]."), delay_ms=60)
        run_id = await quick.start(owner, talk, knows=True, tools=["book"])

        async with process(quick) as worker:
            before = await quick.until(owner, run_id, "message.delta")
            worker.send_signal(signal.SIGKILL)
            await worker.wait()
        async with replica(quick, worker=QUICK_LEASES):
            events = await quick.events(owner, run_id)

        check_journal(events)
        assert events[-1].type == "run.completed"
        assert (events[before.seq - 1], text_of(events)) == (before, f"{LONG} [1].")
        restarted = [event.data for event in events if event.type == "step.restarted"]
        assert restarted == [{"step": before.data["step"], "attempt": 2, "reason": "WORKER_LOST"}]
        assert (len(quick.kb.searches), len(quick.tools.executed(run_id))) == (2, 1)

    async def test_never_repeats_a_call_that_must_not_happen_twice(self, quick: Fleet, owner: Caller) -> None:
        quick.tools.gate = asyncio.Event()
        run_id = await quick.start(owner, script(call("send_mail", to="anna"), say("Sent.")), tools=["send_mail"])
        async with process(quick) as worker:
            await eventually(lambda: _count(quick, run_id), timeout=45)
            worker.send_signal(signal.SIGKILL)
            await worker.wait()
        quick.tools.gate = None

        async with replica(quick, worker=QUICK_LEASES):
            events = await quick.events(owner, run_id)
            assert (events[-1].type, events[-1].data["kind"]) == ("run.requires_action", "outcome_unknown")
            assert len(quick.tools.executed(run_id)) == 1
            waiting = await quick.get(owner, run_id)
            assert waiting.required_action.kind == pb.REQUIRED_ACTION_KIND_OUTCOME_UNKNOWN

            resolve = pb.ResolveRunRequest(
                id=run_id, call_id=waiting.required_action.call_id, decision=pb.RUN_DECISION_APPROVE
            )
            await quick.runs(owner).ResolveRun(resolve)
            rest = await quick.events(owner, run_id, after=events[-1].seq)

        check_journal([*events, *rest])
        assert rest[-1].type == "run.completed"
        executed = quick.tools.executed(run_id)
        assert len({execution.idempotency_key for execution in executed}) == len(executed) == 2


async def _count(of: Fleet, run_id: str) -> int:
    return len(of.tools.executed(run_id))


async def _lose_connections(of: Fleet) -> None:
    """End all connections of the service's serving role, as a failover does; they are found dead when next used."""
    settings = of.agent.settings.database
    assert settings.admin_url is not None
    connection = await asyncpg.connect(settings.admin_url.get_secret_value())
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = 'agent_app'",
            settings.name,
        )
    finally:
        await connection.close()


async def _has_ended(of: Fleet, owner: Caller, run_id: str) -> bool:
    with suppress(FleetError):  # who serves lost its connections, too
        return (await of.get(owner, run_id)).HasField("end_time")
    return False


class TestDatabaseAway:
    async def test_records_an_outcome_when_the_database_is_back(self, quick: Fleet, owner: Caller) -> None:
        quick.tools.gate = gate = asyncio.Event()
        run_id = await quick.start(owner, script(call("send_mail", to="anna"), say("Sent.")), tools=["send_mail"])
        async with replica(quick, worker={}):
            await eventually(lambda: _count(quick, run_id), timeout=45)
            await _lose_connections(quick)
            gate.set()
            await eventually(lambda: _has_ended(quick, owner, run_id), timeout=45)
            events = await quick.events(owner, run_id)

        check_journal(events)
        assert events[-1].type == "run.completed"
        assert [event.type for event in events if event.type == "step.restarted"] == []
        assert len(quick.tools.executed(run_id)) == 1

    async def test_keeps_a_lease_whose_events_are_written_twice(self, quick: Fleet, owner: Caller) -> None:
        await quick.start(owner, "Hello.")
        acquire = AgentUnitOfWork.factory(quick.agent.database)
        async with acquire.machinery() as work:
            [claim] = await work.lease_board.claim(worker="one", lease=timedelta(seconds=30), limit=1)
        said = JournalEvent(seq=1, type="message.delta", data={"text": "Hi"}, time=datetime.now(UTC))
        batches = [(claim, said)], [(claim, said)], [(replace(claim, epoch=claim.epoch - 1), said)]

        held = []
        for batch in batches:
            async with acquire.machinery() as work:
                held.append(await work.journal_table.append(batch))

        assert held == [{claim.run_id}, {claim.run_id}, set()]


class TestLease:
    async def test_refuses_what_a_worker_writes_after_it_lost_the_lease(self, owner: Caller) -> None:
        async with fleet(worker=QUICK_LEASES) as agent:
            run_id = await agent.start(owner, script(say(LONG), delay_ms=100))
            await agent.until(owner, run_id, "message.delta")
            async with agent.agent.database.machinery.begin() as connection:
                # Another worker, far away, has claimed the run.
                await connection.execute(text(STEAL))
            events = await agent.events(owner, run_id)

        check_journal(events)
        assert [event.data["attempt"] for event in events if event.type == "step.restarted"] == [2]
        assert text_of(events) == LONG

    async def test_lets_one_worker_have_a_run(self, quick: Fleet, owner: Caller) -> None:
        run_ids = [await quick.start(owner, script(call("book"), say("Done.")), tools=["book"]) for _ in range(20)]

        async with replica(quick, worker={}), replica(quick, worker={}), replica(quick, worker={}):
            streams = await asyncio.gather(*(quick.events(owner, run_id) for run_id in run_ids))

        for run_id, events in zip(run_ids, streams, strict=True):
            check_journal(events)
            assert [event.data for event in events if event.type == "step.restarted"] == []
            assert len(quick.tools.executed(run_id)) == 1

    async def test_keeps_the_lease_of_a_long_step(self, owner: Caller) -> None:
        async with fleet(worker=QUICK_LEASES) as agent, replica(agent):
            events = await agent.run(owner, script(say("word " * 30), delay_ms=100))

        assert "step.restarted" not in [event.type for event in events]

    async def test_hands_runs_back_when_it_stops(self, quick: Fleet, owner: Caller) -> None:
        slow = {"lease_seconds": 60, "heartbeat_seconds": 5}
        async with replica(quick, worker=slow):
            run_id = await quick.start(owner, script(say(LONG), delay_ms=100))
            await quick.until(owner, run_id, "message.delta")
        async with replica(quick, worker=slow):
            events = await asyncio.wait_for(quick.events(owner, run_id), 20)

        check_journal(events)
        assert text_of(events) == LONG

    async def test_cancels_a_run_that_another_replica_runs(self, quick: Fleet, owner: Caller) -> None:
        async with replica(quick, worker=QUICK_LEASES):
            run_id = await quick.start(owner, script(say(LONG), delay_ms=200))
            await quick.until(owner, run_id, "message.delta")
            asked = datetime.now(UTC)
            await quick.runs(owner).CancelRun(pb.CancelRunRequest(id=run_id))
            events = await quick.events(owner, run_id)

        assert events[-1].type == "run.cancelled"
        assert events[-1].time - asked < timedelta(seconds=1)
