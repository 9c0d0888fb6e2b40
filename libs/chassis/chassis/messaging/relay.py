"""The relay: publishes committed events, and does it again when the broker lost them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
from nats.js import JetStreamContext
from nats.js.api import PubAck, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NoStreamResponseError, NotFoundError
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import telemetry
from chassis.data.database import Database, unavailable_as_error
from chassis.data.tables import OUTBOX
from chassis.messaging import metrics
from chassis.messaging.background import Bell, Trouble, cancelled, ringing_at, stopped_within
from chassis.messaging.broker import BROKER_ERRORS, REQUEST_TIMEOUT_SECONDS, Broker
from chassis.messaging.events import SUBJECT_ROOT, stream_name, to_headers
from chassis.messaging.outbox import from_row

BATCH = 200
POLL_SECONDS = 1.0
STREAM_CHECK_SECONDS = 5.0
RETENTION_SECONDS = 7 * 24 * 3600
DEDUPLICATION_SECONDS = 120

log = telemetry.get_logger(__name__)


class Relay:
    """Moves events from the outbox of one service to its stream. Any number may run: they share the rows."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        self._broker = broker
        self._stream = stream_name(database.service)
        self._bell = Bell()
        self._check_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until stopped, through every failure of database and broker."""
        self._broker.when_reconnected(self._expect_loss)
        trouble = Trouble("relay")
        listening = asyncio.create_task(self._listen())
        try:
            async with ringing_at(stop, self._bell):
                while not stop.is_set():
                    await self._turn(trouble, stop)
        finally:
            await cancelled(listening)

    async def publish_pending(self) -> int:
        """Publish what waits, and return how many were acknowledged. Raises what broker and database raise."""
        published = 0
        while batch := await self._publish_batch():
            published += batch
        return published

    async def check_stream(self) -> None:
        """Declare the stream if it vanished, and mark what it lost as unsent."""
        async with self._database.machinery.connect() as connection:
            highest = await connection.scalar(select(func.max(OUTBOX.c.stream_sequence)))
        jetstream = await self._broker.jetstream()
        try:
            last = (await jetstream.stream_info(self._stream)).state.last_seq
        except NotFoundError:
            await self._declare(jetstream)
            last = -1
        if highest is not None and last < highest:
            await self._unsend(after_sequence=last)

    async def _turn(self, trouble: Trouble, stop: asyncio.Event) -> None:
        try:
            async with unavailable_as_error():
                if asyncio.get_running_loop().time() >= self._check_at:
                    await self.check_stream()
                    self._check_at = asyncio.get_running_loop().time() + STREAM_CHECK_SECONDS
                await self.publish_pending()
            trouble.worked()
            await self._bell.wait(timeout=POLL_SECONDS)
        except NoStreamResponseError as error:
            trouble.failed(error)
            self._check_at = 0.0
            await stopped_within(stop, 0.1)
        except BROKER_ERRORS as error:
            trouble.failed(error)
            await stopped_within(stop, trouble.pause_seconds)
        except Exception as error:  # an outbox that stops for ever is worse than one that logs
            trouble.failed(error)
            log.exception("relay.failed")
            await stopped_within(stop, trouble.pause_seconds)

    async def _publish_batch(self) -> int:
        jetstream = await self._broker.jetstream()
        # The rows stay locked until they are marked: another relay takes others. A crash in between publishes them
        # again under the same Nats-Msg-Id.
        async with self._database.machinery.begin() as connection:
            query = select(OUTBOX).where(OUTBOX.c.sent_at.is_(None)).order_by(OUTBOX.c.id).limit(BATCH)
            rows = (await connection.execute(query.with_for_update(skip_locked=True))).all()
            outcomes = await asyncio.gather(*(self._publish(jetstream, row) for row in rows), return_exceptions=True)
            acks = {row.id: ack.seq for row, ack in zip(rows, outcomes, strict=True) if isinstance(ack, PubAck)}
            await self._mark_sent(connection, acks)
        metrics.published.labels(self._database.service).inc(len(acks))
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            raise failures[0]
        return len(acks)

    async def _publish(self, jetstream: JetStreamContext, row: Any) -> PubAck:  # Any: a row of SQLAlchemy
        headers = {**to_headers(from_row(row)), "Nats-Msg-Id": str(row.id)}
        return await jetstream.publish(
            row.subject, row.payload, timeout=REQUEST_TIMEOUT_SECONDS, stream=self._stream, headers=headers
        )

    async def _mark_sent(self, connection: AsyncConnection, acks: dict[Any, int]) -> None:  # Any: ids
        if not acks:
            return
        statement = text(
            "UPDATE outbox SET sent_at = clock_timestamp(), stream_sequence = acked.sequence "
            "FROM unnest(CAST(:ids AS uuid[]), CAST(:sequences AS bigint[])) AS acked (id, sequence) "
            "WHERE outbox.id = acked.id"
        )
        await connection.execute(statement, {"ids": list(acks), "sequences": list(acks.values())})

    async def _declare(self, jetstream: JetStreamContext) -> None:
        service = self._database.service
        log.info("relay.stream_declared", stream=self._stream)
        await jetstream.add_stream(
            StreamConfig(
                name=self._stream,
                description=f"Events of {service}",
                subjects=[f"{SUBJECT_ROOT}.{service}.>"],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                max_age=RETENTION_SECONDS,
                duplicate_window=DEDUPLICATION_SECONDS,
            )
        )

    async def _unsend(self, *, after_sequence: int) -> None:
        # A new stream counts from 1 again; one that lost its tail ends before sequences that we saw acknowledged.
        async with self._database.machinery.begin() as connection:
            statement = update(OUTBOX).where(OUTBOX.c.stream_sequence > after_sequence)
            result = await connection.execute(statement.values(sent_at=None, stream_sequence=None))
        log.warning("relay.stream_lost_events", stream=self._stream, events=result.rowcount)

    def _expect_loss(self) -> None:
        self._check_at = 0.0
        self._bell.ring()

    async def _listen(self) -> None:
        trouble = Trouble("relay.bell")
        while True:
            try:
                await self._listen_once(trouble)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                trouble.failed(error)
            await asyncio.sleep(trouble.pause_seconds)

    async def _listen_once(self, trouble: Trouble) -> None:
        ended = asyncio.Event()
        async with self._database.listening() as connection:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(f"{self._database.schema}_outbox", lambda *_: self._bell.ring())
            trouble.worked()
            await ended.wait()


async def replay(database: Database, *, subjects: Sequence[str] = ()) -> int:
    """Mark the events that the outbox still holds as unsent, so that a relay publishes them again; return how many.

    `subjects` narrows it to some facts. Consumers take no effect of an event twice.
    """
    statement = update(OUTBOX).where(OUTBOX.c.sent_at.is_not(None))
    if subjects:
        statement = statement.where(OUTBOX.c.subject.in_(subjects))
    async with unavailable_as_error(), database.machinery.begin() as connection:
        result = await connection.execute(statement.values(sent_at=None, stream_sequence=None))
        await connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": f"{database.schema}_outbox"})
    return int(result.rowcount)
