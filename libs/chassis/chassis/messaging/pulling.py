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
from chassis.messaging.events import Delivery, Envelope, from_headers, read_message

BATCH = 8
EXPIRES_SECONDS = 5.0
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
    try:
        yield _messages(client, subscription, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", inbox, stop)
    finally:
        if not client.is_closed:
            await subscription.unsubscribe()


async def _messages(
    client: Client, subscription: Subscription, subject: str, inbox: str, stop: asyncio.Event
) -> AsyncIterator[Msg]:
    request = json.dumps({"batch": BATCH, "expires": int(EXPIRES_SECONDS * 1e9)}).encode()
    outstanding = 0
    while not stop.is_set():
        if outstanding == 0:
            await client.publish(subject, request, reply=inbox)
            outstanding = BATCH
        message = await _next(subscription, stop)
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


async def _next(subscription: Subscription, stop: asyncio.Event) -> Msg | None:
    receiving = asyncio.ensure_future(subscription.next_msg(timeout=EXPIRES_SECONDS + 2))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return receiving.result() if receiving.done() else None
    finally:
        receiving.cancel()
        stopping.cancel()


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
