"""Announcements over core NATS, and within the process without it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent.domain.ports import JournalEvent
from chassis.messaging.background import stopped_within
from chassis.messaging.broker import BROKER_ERRORS, Broker

# Not under "definable.": a stream keeps everything there, and these are worth nothing a second later.
_WAKE = "agent.wake"
_RETRY_SECONDS = 0.5
_WATCH_SECONDS = 1.0
# NATS refuses more than 1 MiB; watchers then read the table.
_LARGEST_BYTES = 900_000
_QUEUED = 1000


class _Subscription:
    """The queue of one watcher. A full queue drops what comes: the watcher sees the gap and reads the table."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Sequence[JournalEvent]] = asyncio.Queue(maxsize=_QUEUED)
        self.client: Client | None = None

    @property
    def is_live(self) -> bool:
        return self.client is not None and self.client.is_connected

    def put(self, events: Sequence[JournalEvent]) -> None:
        if not self._queue.full():
            self._queue.put_nowait(events)

    async def next(self, *, within: timedelta) -> Sequence[JournalEvent]:
        try:
            return await asyncio.wait_for(self._queue.get(), within.total_seconds())
        except TimeoutError:
            return ()


class NatsTail:
    """domain.ports.Tail. A Background: it connects by itself and never makes anyone wait for the broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._client: Client | None = None
        # Own messages come back over NATS, too, and are dropped unread.
        self._origin = uuid4().hex.encode()
        self._watchers: dict[UUID, set[_Subscription]] = {}
        self._on_wake: list[Callable[[], None]] = []

    @property
    def is_connected(self) -> bool:
        """Whether announcements travel between processes at present."""
        return self._client is not None and self._client.is_connected

    def when_woken(self, call: Callable[[], None]) -> None:
        """Call this when another process wakes the workers."""
        self._on_wake.append(call)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a connection until told to stop."""
        while self._broker.is_configured and not stop.is_set():
            try:
                client = await self._broker.connect()
                if client is not self._client:
                    await client.subscribe(_WAKE, cb=self._woken)
                    self._client = client
            except BROKER_ERRORS:
                await stopped_within(stop, _RETRY_SECONDS)
            else:
                await stopped_within(stop, _WATCH_SECONDS)
        await self._broker.close()

    async def announce(self, run_id: UUID, events: Sequence[JournalEvent]) -> None:
        if not events:
            return
        for watcher in self._watchers.get(run_id, ()):
            watcher.put(events)
        payload = self._origin + orjson.dumps([_packed(event) for event in events])
        if len(payload) <= _LARGEST_BYTES:
            await self._publish(_subject(run_id), payload)

    async def wake(self) -> None:
        await self._publish(_WAKE, self._origin)

    async def _publish(self, subject: str, payload: bytes) -> None:
        if self._client is None or not self.is_connected:
            return
        try:
            await self._client.publish(subject, payload)
        except BROKER_ERRORS:
            return  # the table has it, and watchers poll

    @asynccontextmanager
    async def watch(self, run_id: UUID) -> AsyncIterator[_Subscription]:
        watcher = _Subscription()
        self._watchers.setdefault(run_id, set()).add(watcher)
        unsubscribe = await self._subscribe(run_id, watcher)
        try:
            yield watcher
        finally:
            self._forget(run_id, watcher)
            await unsubscribe()

    async def _subscribe(self, run_id: UUID, watcher: _Subscription) -> Callable[[], Awaitable[None]]:
        async def hear(message: Msg) -> None:
            if not message.data.startswith(self._origin):
                watcher.put(_unpacked(message.data))

        async def nothing() -> None:
            return None

        if self._client is None or not self.is_connected:
            return nothing
        try:
            subscription = await self._client.subscribe(_subject(run_id), cb=hear)
        except BROKER_ERRORS:
            return nothing
        watcher.client = self._client

        async def unsubscribe() -> None:
            try:
                await subscription.unsubscribe()
            except BROKER_ERRORS:
                return  # the connection is gone, and the subscription with it

        return unsubscribe

    def _forget(self, run_id: UUID, watcher: _Subscription) -> None:
        watchers = self._watchers[run_id]
        watchers.discard(watcher)
        if not watchers:
            del self._watchers[run_id]

    async def _woken(self, message: Msg) -> None:
        if message.data != self._origin:
            for call in self._on_wake:
                call()


def _subject(run_id: UUID) -> str:
    return f"agent.tail.{run_id.hex}"


def _packed(event: JournalEvent) -> list[object]:
    return [event.seq, event.type, event.data, event.time.isoformat()]


def _unpacked(payload: bytes) -> list[JournalEvent]:
    return [
        JournalEvent(seq=seq, type=kind, data=data, time=datetime.fromisoformat(time))
        for seq, kind, data, time in orjson.loads(payload[32:])
    ]
