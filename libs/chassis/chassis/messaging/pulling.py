"""Pulling from a durable consumer of JetStream, a few messages ahead, each as soon as it is there.

The client library's own `fetch` waits for a whole batch or its time-out once a first message came.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid5

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from chassis.errors import InvalidId
from chassis.messaging.background import cancelled
from chassis.messaging.events import Delivery, Envelope, from_headers, read_message

BATCH = 8
EXPIRES_SECONDS = 5.0
SILENCE_SECONDS = EXPIRES_SECONDS + 2
LOOK_SECONDS = 1.0
"""How long to wait at a time: a connection that came back has forgotten what was asked of the one before."""
REQUEST_OVER = {"404", "408"}
FOREIGN_EVENTS = UUID("5a3c7f0e-1d0b-4c63-9a55-6c1f4a4f7c11")
"""Namespace of the ids of messages that came without an id of ours."""


class ConsumerVanished(Exception):
    """The broker no longer knows the consumer or its stream; both are declared again."""


@asynccontextmanager
async def pulling(client: Client, stream: str, durable: str, stop: asyncio.Event) -> AsyncIterator[AsyncIterator[Msg]]:
    """Subscribe to a durable consumer and give its messages until `stop`.

    The iteration raises ConsumerVanished when consumer or stream is gone, and TimeoutError when the broker is silent.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    stopping = asyncio.create_task(stop.wait())
    try:
        yield _messages(_Inbox(client, subscription, stopping), f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", inbox)
    finally:
        await cancelled(stopping)
        if not client.is_closed:
            await subscription.unsubscribe()


class _Inbox:
    """The replies to our requests, as they come."""

    def __init__(self, client: Client, subscription: Subscription, stopping: asyncio.Task[bool]) -> None:
        self.client = client
        self.stopping = stopping
        self._subscription = subscription
        self._reconnects = client.stats["reconnects"]
        self._receiving: asyncio.Task[Msg] | None = None

    async def next(self) -> Msg | None:
        """Return the next message, None when it is time to stop. Raises ConsumerVanished, TimeoutError."""
        # The task outlives the waits: one that is cancelled may take a message along.
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._subscription.next_msg(timeout=SILENCE_SECONDS))
        while not self._receiving.done() and not self.stopping.done():
            tasks = {self._receiving, self.stopping}
            await asyncio.wait(tasks, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if self.client.stats["reconnects"] != self._reconnects:
                raise ConsumerVanished("the broker was away and our request died with the connection")
        if self.stopping.done():
            await self.close()
            return None
        message, self._receiving = self._receiving.result(), None
        return message

    async def close(self) -> None:
        """Wait for nothing more."""
        if self._receiving is not None:
            await cancelled(self._receiving)


async def _messages(inbox: _Inbox, subject: str, reply_to: str) -> AsyncIterator[Msg]:
    request = json.dumps({"batch": BATCH, "expires": int(EXPIRES_SECONDS * 1e9)}).encode()
    outstanding = 0
    try:
        while True:
            if outstanding == 0:
                await inbox.client.publish(subject, request, reply=reply_to)
                outstanding = BATCH
            message = await inbox.next()
            if message is None:
                return
            status = (message.headers or {}).get("Status")
            if status is None:
                outstanding -= 1
                yield message
            elif status in REQUEST_OVER:
                outstanding = 0
            else:
                raise ConsumerVanished(f"{subject}: {status} {(message.headers or {}).get('Description', '')}")
    finally:
        await inbox.close()


def to_delivery(message: Msg, *, consumer: str) -> Delivery:
    """Return a message of a stream as a delivery; one without our headers gets an id from its place in the stream."""
    metadata = message.metadata
    try:
        envelope = from_headers(message.headers or {})
    except (KeyError, ValueError, InvalidId):
        place = f"{metadata.stream}:{metadata.sequence.stream}"
        envelope = Envelope(uuid5(FOREIGN_EVENTS, place), message.subject, metadata.timestamp)
    return Delivery(
        envelope=envelope,
        payload=message.data,
        message=read_message(envelope.message_type, message.data),
        consumer=consumer,
        attempt=metadata.num_delivered or 1,
    )
