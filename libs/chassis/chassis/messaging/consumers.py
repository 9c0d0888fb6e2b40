"""Consumers: take events of other services, each effect once, and keep what cannot be handled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from chassis import telemetry
from chassis.data.database import Database, unavailable_as_error
from chassis.data.unit_of_work import DuplicateDelivery
from chassis.errors import DeadlineExceeded, Unavailable
from chassis.messaging import dead_letters, metrics
from chassis.messaging.background import Trouble, stopped_within
from chassis.messaging.broker import BROKER_ERRORS, Broker
from chassis.messaging.events import (
    Delivery,
    UnreadableEvent,
    producer_of,
    stream_name,
    subject_of,
)
from chassis.messaging.outbox import Cause, causing
from chassis.messaging.pulling import ConsumerVanished, pulling, to_delivery

HANDLE_SECONDS = 30.0
ACK_WAIT_SECONDS = 60.0
MAX_DELIVERIES = 6
MAX_DELIVERIES_WHILE_UNAVAILABLE = 1_000
BACKOFF_SECONDS = (0.5, 2.0, 10.0, 60.0, 300.0)
DISCOVER_SECONDS = 2.0
REDRIVE_SECONDS = 5.0

log = telemetry.get_logger(__name__)


class Consumer(Protocol):
    """Something that happens when events happen.

    It also has `events: Sequence[type[Message]]`, or `subjects: Sequence[str]` with wildcards (`definable.>` is all of
    the fleet). `handle` opens its unit of work with `inbox=delivery`, so that a repeated delivery takes no effect;
    deliveries may come twice and in any order.
    """

    name: str

    async def handle(self, delivery: Delivery) -> None:
        """Take the effect of an event. Any error but an outage counts towards giving up."""
        ...


class Consumers:
    """Runs the consumers of a service, one subscription for each and every stream it listens to."""

    def __init__(self, database: Database, broker: Broker, consumers: Sequence[Consumer]) -> None:
        self._database = database
        self._broker = broker
        self._consumers = consumers

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until stopped, through every failure of database and broker."""
        async with asyncio.TaskGroup() as group:
            for consumer in self._consumers:
                group.create_task(self._follow_streams(consumer, stop))
                group.create_task(self._redrive(consumer, stop))

    async def _follow_streams(self, consumer: Consumer, stop: asyncio.Event) -> None:
        # Streams appear when their services do, in any order; a wildcard finds new ones as they come.
        following: dict[str, asyncio.Task[None]] = {}
        trouble = Trouble(f"consumer.{consumer.name}")
        patterns = patterns_of(consumer)
        while not stop.is_set():
            try:
                for producer in await self._producers(patterns):
                    if producer not in following or following[producer].done():
                        subjects = subjects_of(producer, patterns)
                        subscription = _Subscription(self._database, self._broker, consumer, producer, subjects)
                        following[producer] = asyncio.create_task(subscription.run(stop))
                trouble.worked()
            except BROKER_ERRORS as error:
                trouble.failed(error)
            await stopped_within(stop, DISCOVER_SECONDS if following else 0.5)
        await asyncio.gather(*following.values(), return_exceptions=True)

    async def _producers(self, patterns: Sequence[str]) -> set[str]:
        named = {producer_of(pattern) for pattern in patterns}
        if named.isdisjoint({"*", ">"}):
            return named
        streams = await (await self._broker.jetstream()).streams_info()
        names = (stream.config.name or "" for stream in streams)
        return {name.removeprefix(stream_name("")) for name in names if name.startswith(stream_name(""))}

    async def _redrive(self, consumer: Consumer, stop: asyncio.Event) -> None:
        trouble = Trouble(f"redrive.{consumer.name}")
        while not await stopped_within(stop, REDRIVE_SECONDS):
            try:
                async with unavailable_as_error():
                    for delivery in await dead_letters.requested(self._database, consumer.name):
                        await self._redrive_one(consumer, delivery)
                trouble.worked()
            except Exception as error:  # noqa: BLE001 – a redrive that fails leaves its row; the others go on
                trouble.failed(error)

    async def _redrive_one(self, consumer: Consumer, delivery: Delivery) -> None:
        try:
            await handle(consumer, delivery)
        except Exception as error:  # noqa: BLE001 – whatever a handler raises is what the row is to show
            await dead_letters.bury(self._database, delivery, error)
        else:
            await dead_letters.forget(self._database, delivery)


class _Subscription:
    """One consumer on one stream."""

    def __init__(
        self, database: Database, broker: Broker, consumer: Consumer, producer: str, subjects: Sequence[str]
    ) -> None:
        self._database = database
        self._broker = broker
        self._consumer = consumer
        self._stream = stream_name(producer)
        self._durable = f"{database.service}_{consumer.name}".replace(".", "_")
        self._subjects = subjects

    async def run(self, stop: asyncio.Event) -> None:
        trouble = Trouble(f"consumer.{self._consumer.name}.{self._stream}")
        while not stop.is_set():
            try:
                await self._consume(stop, trouble)
            except (ConsumerVanished, NotFoundError) as error:
                # The stream's producer declares it; until then there is nothing to hear.
                trouble.failed(error)
                await stopped_within(stop, 0.5)
            except BROKER_ERRORS as error:
                trouble.failed(error)
                await stopped_within(stop, trouble.pause_seconds)
            except Exception as error:  # a consumer that stops for ever is worse than one that logs
                trouble.failed(error)
                log.exception("consumer.failed", consumer=self._consumer.name)
                await stopped_within(stop, trouble.pause_seconds)

    async def _consume(self, stop: asyncio.Event, trouble: Trouble) -> None:
        client = await self._broker.connect()
        await self._declare()
        trouble.worked()
        async with pulling(client, self._stream, self._durable, stop) as messages:
            async for message in messages:
                await self._take(message)

    async def _declare(self) -> None:
        jetstream = await self._broker.jetstream()
        await jetstream.add_consumer(
            self._stream,
            ConsumerConfig(
                durable_name=self._durable,
                filter_subjects=list(self._subjects),
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_SECONDS,
                # Giving up is our own decision, recorded in a row: the broker's would leave the message unseen.
                max_deliver=-1,
                max_ack_pending=256,
            ),
        )

    async def _take(self, message: Msg) -> None:
        delivery = to_delivery(message, consumer=self._consumer.name)
        try:
            await handle(self._consumer, delivery)
        except Exception as error:  # noqa: BLE001 – whatever a handler raises decides between trying again and giving up
            await self._failed(message, delivery, error)
        else:
            metrics.deliveries.labels(self._database.service, self._consumer.name, "handled").inc()
            await message.ack()

    async def _failed(self, message: Msg, delivery: Delivery, error: Exception) -> None:
        log.warning(
            "consumer.delivery_failed",
            consumer=self._consumer.name,
            subject=delivery.envelope.subject,
            event_id=str(delivery.envelope.event_id),
            attempt=delivery.attempt,
            error=type(error).__name__,
            detail=str(error)[:200],
        )
        is_over = is_last(delivery.attempt, error)
        outcome = "buried" if is_over else "failed"
        metrics.deliveries.labels(self._database.service, self._consumer.name, outcome).inc()
        if not is_over:
            delays = BACKOFF_SECONDS
            await message.nak(delay=delays[min(delivery.attempt, len(delays)) - 1])
            return
        await dead_letters.bury(self._database, delivery, error)
        await message.ack()


async def handle(consumer: Consumer, delivery: Delivery) -> None:
    """Let a consumer take the effect of a delivery; one that took effect before is fine.

    Raises UnreadableEvent when the consumer asked for types of events and this is damaged, and what the handler raises.
    """
    if delivery.message is None and hasattr(consumer, "events"):
        raise UnreadableEvent(delivery.envelope.subject)
    envelope = delivery.envelope
    cause = Cause(envelope.request_id, envelope.client_address, envelope.traceparent)
    try:
        with causing(cause, f"consume {envelope.subject}", consumer=consumer.name):
            async with asyncio.timeout(HANDLE_SECONDS):
                await consumer.handle(delivery)
    except DuplicateDelivery:
        log.debug("consumer.duplicate", consumer=consumer.name, event_id=str(delivery.envelope.event_id))


def is_last(attempt: int, error: Exception) -> bool:
    """Tell whether a delivery that failed is given up: at once when it cannot be read, late in an outage."""
    if isinstance(error, UnreadableEvent):
        return True
    is_outage = isinstance(error, Unavailable | DeadlineExceeded)
    return attempt >= (MAX_DELIVERIES_WHILE_UNAVAILABLE if is_outage else MAX_DELIVERIES)


def patterns_of(consumer: Consumer) -> list[str]:
    """Return the subjects that a consumer asks for; shared events are those of every service."""
    kinds: Sequence[type[Message]] = getattr(consumer, "events", ())
    subjects: Sequence[str] = getattr(consumer, "subjects", ())
    return [*subjects, *(subject_of(kind, service="*") for kind in kinds)]


def subjects_of(producer: str, patterns: Sequence[str]) -> list[str]:
    """Return what of the patterns one producer can publish: `definable.>` becomes `definable.kb.>`."""
    subjects: list[str] = []
    for pattern in patterns:
        root, second, *rest = pattern.split(".")
        if second == ">":
            subjects.append(f"{root}.{producer}.>")
        elif second in ("*", producer):
            subjects.append(".".join([root, producer, *rest]))
    return list(dict.fromkeys(subjects))
