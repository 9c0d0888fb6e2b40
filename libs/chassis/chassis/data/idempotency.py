"""Idempotency keys: the first call reserves its key, its reply is stored with its effect, a repeat gets that reply.

A key belongs to its caller, organization and method. Replies are kept 24 hours; those with a secret in them are sealed
and kept 10 minutes.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from sqlalchemy import bindparam, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.crypto import Sealer, StaticKeys
from chassis.data.database import Database
from chassis.data.tables import IDEMPOTENCY
from chassis.errors import IdempotencyKeyBusy, IdempotencyKeyReused
from chassis.messaging.events import message_class
from chassis.rpc.caller import CallContext, Idempotency
from definable.options.v1 import options_pb2

KEPT = timedelta(hours=24)
KEPT_SECRET = timedelta(minutes=10)
RESERVED = timedelta(seconds=60)
"""How long a key stays busy that was reserved without a reply: its process died between two units of work."""
PURPOSE = "idempotency"


class IdempotentReplay(Exception):
    """The call was answered before; `reply` is that answer. The interceptor sends it instead of an error."""

    def __init__(self, reply: Message) -> None:
        super().__init__("answered before")
        self.reply = reply


class KeyedCall:
    """The reservation of one call, as its units of work see it."""

    def __init__(self, call: CallContext, idempotency: Idempotency, sealer: Sealer) -> None:
        self._call = call
        self._sealer = sealer
        self._request_hash = idempotency.request_hash
        caller = call.caller
        self.organization_id = caller.organization_id if caller else None
        self._digest = key_digest(self.organization_id, caller.subject if caller else "", idempotency)

    async def reserve(self, session: AsyncSession) -> None:
        """Take the key for this call, or end the call: first statement of its first unit of work.

        Raises IdempotentReplay when it was answered before, IdempotencyKeyReused when that was another request,
        IdempotencyKeyBusy while it is being answered.
        """
        if self._call.is_key_reserved:
            return
        await self._lock(session)
        table, now = IDEMPOTENCY.c, func.now()
        query = select(IDEMPOTENCY, (table.reserve_time > now - RESERVED).label("is_fresh"))
        row = (await session.execute(query.where(table.key_digest == self._digest, table.expire_time > now))).first()
        if row is not None:
            self._answer_from(row)
        await self._write_reservation(session)

    async def store(self, session: AsyncSession, reply: Message) -> None:
        """Keep the reply, in the transaction of its effect."""
        content, is_secret = reply.SerializeToString(deterministic=True), holds_secret(type(reply))
        if is_secret:
            content = self._sealer.seal(content, organization_id=self.organization_id, purpose=PURPOSE)
        kept = KEPT_SECRET if is_secret else KEPT
        await session.execute(
            update(IDEMPOTENCY)
            .where(IDEMPOTENCY.c.key_digest == self._digest)
            .values(
                reply_type=reply.DESCRIPTOR.full_name,
                reply=content,
                is_sealed=is_secret,
                expire_time=func.clock_timestamp() + kept,
            )
        )

    async def release(self, session: AsyncSession) -> None:
        """Give the key back after a call that failed, so that a repeat tries again."""
        table = IDEMPOTENCY.c
        await session.execute(delete(IDEMPOTENCY).where(table.key_digest == self._digest, table.reply.is_(None)))

    async def _lock(self, session: AsyncSession) -> None:
        number = int.from_bytes(self._digest[:8], "big", signed=True)
        locked = await session.scalar(text("SELECT pg_try_advisory_xact_lock(:n)").bindparams(bindparam("n", number)))
        if not locked:
            raise IdempotencyKeyBusy(retry_after=timedelta(seconds=1))

    def _answer_from(self, row: Any) -> None:  # Any: a row of SQLAlchemy, whose columns are not typed
        if row.request_hash != self._request_hash:
            raise IdempotencyKeyReused
        if row.reply is not None:
            raise IdempotentReplay(self._open(row))
        if row.is_fresh:
            raise IdempotencyKeyBusy(retry_after=timedelta(seconds=1))

    def _open(self, row: Any) -> Message:  # Any: as above
        kind = message_class(row.reply_type)
        if kind is None:
            raise LookupError(f"{row.reply_type} is not imported here")
        content = bytes(row.reply)
        if row.is_sealed:
            content = self._sealer.open(content, organization_id=self.organization_id, purpose=PURPOSE)
        return kind.FromString(content)

    async def _write_reservation(self, session: AsyncSession) -> None:
        # An expired row, or one whose process died, may still be there: it makes room.
        await session.execute(delete(IDEMPOTENCY).where(IDEMPOTENCY.c.key_digest == self._digest))
        await session.execute(
            insert(IDEMPOTENCY).values(
                key_digest=self._digest,
                organization_id=self.organization_id,
                request_hash=self._request_hash,
                reply_type="",
                is_sealed=False,
                reserve_time=func.now(),
                expire_time=func.now() + KEPT,
            )
        )


def key_digest(organization_id: UUID | None, subject: str, idempotency: Idempotency) -> bytes:
    """Return what a key is stored under: nobody else's call, and no other method, finds it."""
    parts = [str(organization_id or ""), subject, idempotency.method, idempotency.key]
    return hashlib.sha256(orjson.dumps(parts)).digest()


def holds_secret(kind: type[Message]) -> bool:
    """Tell whether a message, or one inside it, has a field marked `(definable.options.v1.secret)`."""
    return _holds_secret(kind.DESCRIPTOR.full_name)


@cache
def _holds_secret(full_name: str) -> bool:
    seen: set[str] = set()
    waiting = [descriptor_pool.Default().FindMessageTypeByName(full_name)]
    while waiting:
        current = waiting.pop()
        if current.full_name in seen:
            continue
        seen.add(current.full_name)
        for field in current.fields:
            if field.GetOptions().Extensions[options_pb2.secret]:
                return True
            if field.message_type is not None:
                waiting.append(field.message_type)
    return False


def default_sealer(database: Database) -> Sealer:
    """Return a sealer for replies whose key no database dump holds."""
    return Sealer(StaticKeys(database.derived_key(PURPOSE)))
