"""Reading what a service under test announced."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import select

from chassis.data.database import Database
from chassis.data.tables import OUTBOX
from chassis.messaging.events import Envelope, read_message
from chassis.messaging.outbox import from_row

E = TypeVar("E", bound=Message)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in the outbox."""

    envelope: Envelope
    message: Message | None


class NothingAnnounced(AssertionError):
    """No such event is in the outbox."""


class OutboxReader:
    """The outbox of a service, sent or not, oldest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, kind: type[Message] | None = None) -> Sequence[Recorded]:
        """Return all events, or those of a type."""
        query = select(OUTBOX).order_by(OUTBOX.c.id)
        if kind is not None:
            query = query.where(OUTBOX.c.message_type == kind.DESCRIPTOR.full_name)
        async with self._database.machinery.connect() as connection:
            rows = await connection.execute(query)
        return [Recorded(from_row(row), read_message(row.message_type, row.payload)) for row in rows]

    async def last(self, kind: type[E]) -> E:
        """Return the newest event of a type. Raises NothingAnnounced."""
        return (await self.last_recorded(kind))[1]

    async def last_recorded(self, kind: type[E]) -> tuple[Envelope, E]:
        """Return the newest event of a type with its envelope. Raises NothingAnnounced."""
        for record in reversed(await self.all(kind)):
            if isinstance(record.message, kind):
                return record.envelope, record.message
        raise NothingAnnounced(kind.DESCRIPTOR.full_name)

    async def wait_for(self, kind: type[E], *, count: int = 1, timeout: float = 10.0) -> E:
        """Wait until there are so many events of a type and return the newest. Raises NothingAnnounced."""
        deadline = asyncio.get_running_loop().time() + timeout
        while len(await self.all(kind)) < count:
            if asyncio.get_running_loop().time() > deadline:
                raise NothingAnnounced(kind.DESCRIPTOR.full_name)
            await asyncio.sleep(0.02)
        return await self.last(kind)
