"""Dead letters: deliveries that a consumer gave up, kept until somebody has them handled again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.data.database import Database, unavailable_as_error
from chassis.data.tables import DEAD_LETTERS
from chassis.messaging.events import Delivery, from_headers, read_message, to_headers


async def bury(database: Database, delivery: Delivery, error: BaseException) -> None:
    """Keep a delivery with the error that it was given up for."""
    envelope = delivery.envelope
    # The class and not the text of the error: its text may quote what users wrote.
    values = {"error": type(error).__name__, "deliveries": delivery.attempt, "redrive_time": None}
    statement = insert(DEAD_LETTERS).values(
        consumer=delivery.consumer,
        event_id=envelope.event_id,
        organization_id=envelope.organization_id,
        subject=envelope.subject,
        headers=to_headers(envelope),
        payload=delivery.payload,
        create_time=func.now(),
        **values,
    )
    keys = [DEAD_LETTERS.c.consumer, DEAD_LETTERS.c.event_id]
    async with unavailable_as_error(), database.machinery.begin() as connection:
        await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))


async def forget(database: Database, delivery: Delivery) -> None:
    """Drop a dead letter that was handled after all."""
    table = DEAD_LETTERS.c
    async with unavailable_as_error(), database.machinery.begin() as connection:
        await connection.execute(
            delete(DEAD_LETTERS).where(
                table.consumer == delivery.consumer, table.event_id == delivery.envelope.event_id
            )
        )


async def redrive(database: Database, *, consumer: str | None = None, event_id: UUID | None = None) -> int:
    """Ask the running consumers to handle dead letters again, all or some; return how many were asked for."""
    statement = update(DEAD_LETTERS).where(DEAD_LETTERS.c.redrive_time.is_(None))
    if consumer is not None:
        statement = statement.where(DEAD_LETTERS.c.consumer == consumer)
    if event_id is not None:
        statement = statement.where(DEAD_LETTERS.c.event_id == event_id)
    async with unavailable_as_error(), database.machinery.begin() as connection:
        return int((await connection.execute(statement.values(redrive_time=func.now()))).rowcount)


async def requested(database: Database, consumer: str, *, limit: int = 20) -> Sequence[Delivery]:
    """Return dead letters of a consumer that are to be handled again."""
    table = DEAD_LETTERS.c
    query = select(DEAD_LETTERS).where(table.consumer == consumer, table.redrive_time.is_not(None))
    async with unavailable_as_error(), database.machinery.connect() as connection:
        return [_delivery(row) for row in await connection.execute(query.order_by(table.redrive_time).limit(limit))]


def _delivery(row: Any) -> Delivery:  # Any: a row of SQLAlchemy, whose columns are not typed
    envelope = from_headers(row.headers)
    return Delivery(
        envelope=envelope,
        payload=row.payload,
        message=read_message(envelope.message_type, row.payload),
        consumer=row.consumer,
        attempt=row.deliveries + 1,
    )
