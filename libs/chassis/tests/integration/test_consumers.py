"""Consumers: each event takes effect once, failures are tried again, and what is given up can be redriven."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar
from uuid import UUID

import pytest
from google.protobuf.message import Message
from nats.js import JetStreamContext
from shop.models import Article
from shop.unit_of_work import ShopUnitOfWork
from sqlalchemy import text

from chassis.data.database import Database
from chassis.data.unit_of_work import Acquire
from chassis.errors import DependencyUnavailable, InvalidArgument
from chassis.ids import new_id
from chassis.messaging import consumers as module
from chassis.messaging import dead_letters
from chassis.messaging.broker import Broker
from chassis.messaging.consumers import Consumers, is_last, patterns_of, subjects_of
from chassis.messaging.events import Delivery, UnreadableEvent
from chassis.messaging.relay import Relay
from chassis.rpc.caller import Actor
from chassis.testing.servers import SERVERS, nats_settings
from chassis.testing.waiting import eventually
from definable.jobs.v1.events_pb2 import JobFinished, JobQueued

Shop = Acquire[ShopUnitOfWork]


@pytest.fixture
async def shop(fresh_database: Database) -> Shop:
    return ShopUnitOfWork.factory(fresh_database)


@pytest.fixture
async def jetstream(broker: Broker) -> AsyncIterator[JetStreamContext]:
    jetstream = await broker.jetstream()
    await _delete_streams(jetstream)
    yield jetstream
    await _delete_streams(jetstream)


async def _delete_streams(jetstream: JetStreamContext) -> None:
    for stream in await jetstream.streams_info():
        await jetstream.delete_stream(stream.config.name or "")


class Shelf:
    """Puts an article on the shelf for each finished job, as the effect of the event."""

    name: str = "shelf"
    events: ClassVar[Sequence[type[Message]]] = [JobFinished]

    def __init__(self, acquire: Shop) -> None:
        self._acquire = acquire
        self.deliveries: list[Delivery] = []
        self.failures: list[Exception] = []

    async def handle(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        envelope = delivery.envelope
        async with self._acquire.as_organization(envelope.organization_id, envelope.actor, inbox=delivery) as work:
            work.articles.add(Article(id=work.new_id(), name=delivery.of(JobFinished).job_id))
            if self.failures:
                raise self.failures.pop()


async def announce(acquire: Shop, job_id: str = "job_1") -> UUID:
    organization_id = new_id()
    async with acquire.as_organization(organization_id, Actor("", "")) as work:
        work.outbox.add(JobFinished(job_id=job_id))
        work.outbox.add(JobQueued(job_id=job_id))
    return organization_id


async def articles_of(acquire: Shop, organization_id: UUID) -> int:
    async with acquire.as_organization(organization_id, Actor("", "")) as work:
        return len(await work.articles.all())


@asynccontextmanager
async def running(*loops: Relay | Consumers) -> AsyncIterator[None]:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(loop.run(stop)) for loop in loops]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)


class TestConsumers:
    async def test_take_effect(self, shop: Shop, broker: Broker, jetstream: JetStreamContext) -> None:
        shelf = Shelf(shop)
        async with running(Consumers(shop.database, broker, [shelf]), Relay(shop.database, broker)):
            organization_id = await announce(shop)
            await eventually(lambda: articles_of(shop, organization_id))

        (delivery,) = shelf.deliveries
        assert delivery.envelope.organization_id == organization_id
        assert delivery.of(JobFinished).job_id == "job_1"

    async def test_take_effect_soon(self, shop: Shop, broker: Broker, jetstream: JetStreamContext) -> None:
        loop = asyncio.get_running_loop()
        async with running(Consumers(shop.database, broker, [Shelf(shop)]), Relay(shop.database, broker)):
            first = await announce(shop)
            await eventually(lambda: articles_of(shop, first))
            started = loop.time()
            second = await announce(shop)
            await eventually(lambda: articles_of(shop, second), every=0.005)
        assert loop.time() - started < 0.8

    async def test_take_the_effect_of_a_repeated_delivery_once(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext
    ) -> None:
        shelf, relay = Shelf(shop), Relay(shop.database, broker)
        async with running(Consumers(shop.database, broker, [shelf]), relay):
            organization_id = await announce(shop)
            await eventually(lambda: articles_of(shop, organization_id))
            # A broker that lost everything gets all events again.
            await jetstream.delete_stream("definable_shop")
            await eventually(lambda: _count(shelf, 2))
            await asyncio.sleep(0.1)

        assert await articles_of(shop, organization_id) == 1

    async def test_try_again_after_a_failure_and_leave_no_half_effect(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext
    ) -> None:
        shelf = Shelf(shop)
        shelf.failures = [RuntimeError("once")]
        async with running(Consumers(shop.database, broker, [shelf]), Relay(shop.database, broker)):
            organization_id = await announce(shop)
            await eventually(lambda: articles_of(shop, organization_id))

        assert [delivery.attempt for delivery in shelf.deliveries] == [1, 2]
        assert await articles_of(shop, organization_id) == 1

    async def test_listen_to_whoever_announces_by_wildcard(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext
    ) -> None:
        class Feed:
            name = "feed"
            subjects: ClassVar = ["definable.>"]

            def __init__(self) -> None:
                self.seen: list[Delivery] = []

            async def handle(self, delivery: Delivery) -> None:
                self.seen.append(delivery)

        feed = Feed()
        async with running(Consumers(shop.database, broker, [feed]), Relay(shop.database, broker)):
            await announce(shop)
            await jetstream.add_stream(name="definable_other", subjects=["definable.other.>"])
            await jetstream.publish("definable.other.thing.happened.v9", b"\xff\xffnot ours")
            await eventually(lambda: _has_seen(feed.seen, 3), timeout=15)

        unknown = next(delivery for delivery in feed.seen if delivery.envelope.subject.endswith("v9"))
        assert unknown.message is None
        assert unknown.payload == b"\xff\xffnot ours"

    async def test_go_on_after_the_broker_was_away(self, shop: Shop) -> None:
        broker = Broker(nats_settings(), name="test")
        shelf = Shelf(shop)
        async with running(Consumers(shop.database, broker, [shelf]), Relay(shop.database, broker)):
            before = await announce(shop)
            await eventually(lambda: articles_of(shop, before))
            SERVERS.nats.kill()
            try:
                meanwhile = await announce(shop)
            finally:
                SERVERS.nats.start()
            await eventually(lambda: articles_of(shop, meanwhile), timeout=20)
        await broker.close()


class TestDeadLetters:
    @pytest.fixture(autouse=True)
    def impatience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.01,))
        monkeypatch.setattr(module, "REDRIVE_SECONDS", 0.05)

    async def test_keep_what_was_given_up_until_it_is_redriven(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext
    ) -> None:
        shelf = Shelf(shop)
        shelf.failures = [InvalidArgument()] * module.MAX_DELIVERIES
        async with running(Consumers(shop.database, broker, [shelf]), Relay(shop.database, broker)):
            organization_id = await announce(shop)
            (letter,) = await eventually(lambda: letters(shop))
            assert (letter.consumer, letter.error, letter.deliveries) == ("shelf", "InvalidArgument", 6)
            assert await articles_of(shop, organization_id) == 0

            assert await dead_letters.redrive(shop.database, consumer="shelf") == 1
            await eventually(lambda: articles_of(shop, organization_id))
            await eventually(lambda: _no_letters(shop))

        assert len(shelf.deliveries) == module.MAX_DELIVERIES + 1

    async def test_stay_when_the_redrive_fails(self, shop: Shop, broker: Broker, jetstream: JetStreamContext) -> None:
        shelf = Shelf(shop)
        shelf.failures = [RuntimeError()] * (module.MAX_DELIVERIES + 1)
        async with running(Consumers(shop.database, broker, [shelf]), Relay(shop.database, broker)):
            await announce(shop)
            await eventually(lambda: letters(shop))
            await dead_letters.redrive(shop.database)
            await eventually(lambda: _count(shelf, module.MAX_DELIVERIES + 1))
            await asyncio.sleep(0.2)

        (letter,) = await letters(shop)
        assert letter.deliveries == module.MAX_DELIVERIES + 1

    async def test_take_a_damaged_message_at_once(
        self, shop: Shop, broker: Broker, jetstream: JetStreamContext
    ) -> None:
        shelf = Shelf(shop)
        async with running(Consumers(shop.database, broker, [shelf]), Relay(shop.database, broker)):
            await announce(shop)
            await eventually(lambda: _count(shelf, 1))
            await jetstream.publish("definable.shop.job.finished.v1", b"\xff\xff")
            (letter,) = await eventually(lambda: letters(shop))
        assert (letter.error, letter.deliveries) == ("UnreadableEvent", 1)


class TestIsLast:
    def test_waits_long_for_a_dependency(self) -> None:
        assert not is_last(100, DependencyUnavailable(dependency="org"))
        assert is_last(1_000, DependencyUnavailable(dependency="org"))

    def test_gives_up_after_six_other_failures(self) -> None:
        assert not is_last(5, RuntimeError())
        assert is_last(6, RuntimeError())

    def test_gives_up_at_once_what_cannot_be_read(self) -> None:
        assert is_last(1, UnreadableEvent())


class TestSubjects:
    def test_of_job_events_are_those_of_every_service(self) -> None:
        class Projection(Shelf):
            events: ClassVar[Sequence[type[Message]]] = [JobQueued]

        assert patterns_of(Projection.__new__(Projection)) == ["definable.*.job.queued.v1"]

    @pytest.mark.parametrize(
        ("pattern", "subjects"),
        [
            ("definable.>", ["definable.kb.>"]),
            ("definable.*.job.queued.v1", ["definable.kb.job.queued.v1"]),
            ("definable.kb.document.indexed.v1", ["definable.kb.document.indexed.v1"]),
            ("definable.org.member.removed.v1", []),
        ],
    )
    def test_are_narrowed_to_a_producer(self, pattern: str, subjects: list[str]) -> None:
        assert subjects_of("kb", [pattern]) == subjects


async def letters(acquire: Shop) -> Sequence[Any]:
    async with acquire.machinery() as work:
        return (await work.session.execute(text("SELECT * FROM dead_letters"))).all()


async def _no_letters(acquire: Shop) -> bool:
    return not await letters(acquire)


async def _count(shelf: Shelf, number: int) -> bool:
    return len(shelf.deliveries) >= number


async def _has_seen(seen: list[Delivery], number: int) -> bool:
    return len(seen) >= number
