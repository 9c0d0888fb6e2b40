"""Events: committed with their change, published until acknowledged, and again when the broker lost them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.js import JetStreamContext
from shop.unit_of_work import ShopUnitOfWork
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.data.database import Database
from chassis.data.unit_of_work import Acquire
from chassis.ids import ORGANIZATION, new_id
from chassis.messaging.broker import Broker
from chassis.messaging.events import from_headers
from chassis.messaging.relay import Relay, replay
from chassis.rpc.caller import Actor, CallContext, answering
from chassis.testing.outbox import OutboxReader
from chassis.testing.servers import SERVERS, nats_settings
from chassis.testing.waiting import eventually
from definable.jobs.v1.events_pb2 import JobFinished, JobQueued

Shop = Acquire[ShopUnitOfWork]
STREAM = "definable_shop"


@pytest.fixture
async def shop(fresh_database: Database) -> Shop:
    return ShopUnitOfWork.factory(fresh_database)


@pytest.fixture
async def jetstream(broker: Broker) -> AsyncIterator[JetStreamContext]:
    jetstream = await broker.jetstream()
    await _delete_stream(jetstream)
    yield jetstream
    await _delete_stream(jetstream)


async def _delete_stream(jetstream: JetStreamContext) -> None:
    for stream in await jetstream.streams_info():
        await jetstream.delete_stream(stream.config.name or "")


async def announce(acquire: Shop, actor: Actor, *, count: int = 1) -> None:
    async with acquire.as_organization(new_id(), actor) as work:
        for _ in range(count):
            work.outbox.add(JobFinished(job_id="job_shop_x"), target="job_shop_x")


async def unsent(acquire: Shop) -> int:
    async with acquire.machinery() as work:
        return int(await work.session.scalar(text("SELECT count(*) FROM outbox WHERE sent_at IS NULL")) or 0)


async def stream_length(jetstream: JetStreamContext) -> int:
    return (await jetstream.stream_info(STREAM)).state.messages


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(relay.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)


class TestOutbox:
    async def test_keeps_the_whole_envelope(self, shop: Shop, actor: Actor) -> None:
        organization_id = new_id()
        call = CallContext(request_id="req_1", client_address="203.0.113.9", traceparent="00-aa-bb-01")
        with answering(call):
            async with shop.as_organization(organization_id, actor) as work:
                work.outbox.add(
                    JobFinished(job_id="job_shop_x"), target="job_shop_x", before=None, after={"a": 1}, revision=7
                )

        envelope, message = await OutboxReader(shop.database).last_recorded(JobFinished)
        assert message.job_id == "job_shop_x"
        assert envelope.subject == "definable.shop.job.finished.v1"
        assert envelope.organization_id == organization_id
        assert (envelope.actor.subject, envelope.actor.kind) == (actor.subject, "user")
        assert (envelope.request_id, envelope.client_address) == ("req_1", "203.0.113.9")
        assert (envelope.target, envelope.revision, envelope.traceparent) == ("job_shop_x", 7, "00-aa-bb-01")
        assert envelope.before_digest == ""
        assert len(envelope.after_digest) == 64

    async def test_holds_nothing_of_a_unit_that_failed(self, shop: Shop, actor: Actor) -> None:
        with pytest.raises(RuntimeError):  # noqa: PT012 – the block is the unit of work
            async with shop.as_organization(new_id(), actor) as work:
                work.outbox.add(JobFinished(job_id="x"))
                raise RuntimeError

        assert await OutboxReader(shop.database).all() == []

    async def test_takes_an_event_about_another_organization(self, shop: Shop) -> None:
        new_organization = new_id()
        async with shop.as_user(new_id()) as work:
            work.outbox.add(JobFinished(job_id="x"), organization_id=new_organization)
            work.outbox.add(JobQueued(job_id="y"))

        events = await OutboxReader(shop.database).all()
        assert [event.envelope.organization_id for event in events] == [new_organization, None]

    async def test_is_closed_to_other_organizations(self, shop: Shop, actor: Actor) -> None:
        await announce(shop, actor)

        async with shop.as_organization(new_id(), actor) as work:
            assert await work.session.scalar(text("SELECT count(*) FROM outbox")) == 0


class TestRelay:
    async def test_publishes_soon_after_the_commit(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext, actor: Actor
    ) -> None:
        async with running(Relay(shop.database, broker)):
            await announce(shop, actor)
            await eventually(lambda: _is_sent(shop))

        message = await jetstream.get_msg(STREAM, 1)
        headers = message.headers or {}
        envelope = from_headers(headers)
        recorded = (await OutboxReader(shop.database).all())[0]
        assert envelope.event_id == recorded.envelope.event_id
        assert envelope.organization_id == recorded.envelope.organization_id
        assert headers["ce-specversion"] == "1.0"
        assert envelope.organization_id is not None
        assert headers["ce-organizationid"] == ORGANIZATION.show(envelope.organization_id)
        assert JobFinished.FromString(message.data or b"").job_id == "job_shop_x"

    async def test_is_woken_by_the_commit(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext, actor: Actor
    ) -> None:
        loop = asyncio.get_running_loop()
        async with running(Relay(shop.database, broker)):
            await announce(shop, actor)
            await eventually(lambda: _is_sent(shop))
            delays = []
            for _ in range(5):
                started = loop.time()
                await announce(shop, actor)
                await eventually(lambda: _is_sent(shop), every=0.005)
                delays.append(loop.time() - started)

        assert sorted(delays)[2] < 0.5  # the poll alone would take a second

    async def test_loses_nothing_and_doubles_nothing_when_it_dies_before_it_marks(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext, actor: Actor
    ) -> None:
        await announce(shop, actor, count=3)
        dying = DyingRelay(shop.database, broker)
        await dying.check_stream()
        with pytest.raises(Killed):
            await dying.publish_pending()
        assert await stream_length(jetstream) == 3
        assert await unsent(shop) == 3

        assert await Relay(shop.database, broker).publish_pending() == 3

        assert await unsent(shop) == 0
        assert await stream_length(jetstream) == 3

    async def test_shares_the_rows_with_another_relay(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext, actor: Actor
    ) -> None:
        await announce(shop, actor, count=500)
        relays = [Relay(shop.database, broker) for _ in range(3)]
        await relays[0].check_stream()

        published = await asyncio.gather(*(relay.publish_pending() for relay in relays))

        assert sum(published) == 500
        assert await stream_length(jetstream) == 500

    async def test_publishes_again_what_a_deleted_stream_had(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext, actor: Actor
    ) -> None:
        relay = Relay(shop.database, broker)
        await announce(shop, actor, count=4)
        await relay.check_stream()
        await relay.publish_pending()
        await jetstream.delete_stream(STREAM)

        async with running(Relay(shop.database, broker)):
            await announce(shop, actor)
            await eventually(lambda: _has_length(jetstream, 5))

        assert await unsent(shop) == 0

    async def test_publishes_again_the_tail_that_a_stream_lost(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext, actor: Actor
    ) -> None:
        relay = Relay(shop.database, broker)
        await announce(shop, actor, count=4)
        await relay.check_stream()
        await relay.publish_pending()
        # A broker that lost its last writes has a stream that ends before what was acknowledged.
        async with shop.machinery() as work:
            await work.session.execute(text("UPDATE outbox SET stream_sequence = stream_sequence + 2"))

        await relay.check_stream()

        assert await unsent(shop) == 2

    async def test_waits_while_the_broker_is_down(self, shop: Shop, actor: Actor) -> None:
        nats = SERVERS.nats
        broker = Broker(nats_settings(), name="relay")
        async with running(Relay(shop.database, broker)):
            await announce(shop, actor)
            await eventually(lambda: _is_sent(shop))
            nats.kill()
            try:
                await announce(shop, actor, count=3)
                await asyncio.sleep(0.5)
                assert await unsent(shop) == 3
            finally:
                nats.start()
            await eventually(lambda: _is_sent(shop), timeout=15)
        await broker.close()

    async def test_replays_on_demand(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext, actor: Actor
    ) -> None:
        relay = Relay(shop.database, broker)
        await announce(shop, actor, count=2)
        await relay.check_stream()
        await relay.publish_pending()

        assert await replay(shop.database) == 2
        assert await relay.publish_pending() == 2


class Killed(Exception):
    """The process died here."""


class DyingRelay(Relay):
    """A relay whose process dies between the broker's acknowledgement and its own mark."""

    async def _mark_sent(self, connection: AsyncConnection, acks: dict[Any, int]) -> None:
        raise Killed


async def _is_sent(acquire: Shop) -> bool:
    return await unsent(acquire) == 0


async def _has_length(jetstream: JetStreamContext, length: int) -> bool:
    try:
        return await stream_length(jetstream) == length
    except Exception:
        return False
