"""Keyset pages: a token holds the order keys of the last row seen, bound to its filter and order."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, and_, false, or_, true, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from chassis.errors import PageTokenInvalid, ValidationFailed, Violation

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
SIGNATURE_BYTES = 16

Item = TypeVar("Item")
Key = UUID | datetime | int | float | str | bool | None
Direction = Literal["asc", "desc"]
Order = Sequence[tuple[InstrumentedAttribute[Any], Direction]]  # Any: columns of every type take part


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list; `next_page_token` is empty on the last page."""

    items: Sequence[Item]
    next_page_token: str = ""


def page_limit(page_size: int) -> int:
    """Return how many rows to fetch: 50 when not asked for, at most 200.

    Raises ValidationFailed when negative.
    """
    if page_size < 0:
        raise ValidationFailed(violations=[Violation("page_size", "must not be negative", "int32.gte")])
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def binding(secret: bytes, *, scope: str, filter_key: str, order: Order) -> bytes:
    """Return the key that signs the tokens of one list: whose, filtered how, in which order."""
    columns = [f"{column.key}:{direction}" for column, direction in order]
    return hmac.digest(secret, orjson.dumps([scope, filter_key, columns]), "sha256")


def encode_token(bound_to: bytes, keys: Sequence[Key]) -> str:
    """Return an opaque, URL-safe token for the position after `keys`."""
    raw = orjson.dumps([_encode(key) for key in keys])
    return base64.urlsafe_b64encode(_signature(bound_to, raw) + raw).rstrip(b"=").decode()


def decode_token(token: str, *, bound_to: bytes) -> list[Key]:
    """Return the keys in a token.

    Raises PageTokenInvalid when it was changed, or made for another filter, order or organization.
    """
    try:
        signed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise PageTokenInvalid from error
    signature, raw = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(bound_to, raw)):
        raise PageTokenInvalid
    return [_decode(*key) for key in orjson.loads(raw)]


def _signature(bound_to: bytes, raw: bytes) -> bytes:
    return hmac.digest(bound_to, raw, "sha256")[:SIGNATURE_BYTES]


def after(order: Order, keys: Sequence[Key]) -> ColumnElement[bool]:
    """Return the condition that holds for rows after `keys`, nulls where Postgres sorts them."""
    if _is_plain(order) and None not in keys:
        return _row_comparison(order, keys)
    alternatives: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for (column, direction), key in zip(order, keys, strict=True):
        alternatives.append(and_(true(), *equal, _beyond(column, direction, key)))
        equal.append(column.is_(None) if key is None else column == key)
    return or_(*alternatives)


def _row_comparison(order: Order, keys: Sequence[Key]) -> ColumnElement[bool]:
    # One row comparison instead of nested alternatives: an index in this order answers it by a range.
    left = tuple_(*(column for column, _ in order))
    right = tuple_(*keys)
    return left > right if order[0][1] == "asc" else left < right


def _is_plain(order: Order) -> bool:
    directions = {direction for _, direction in order}
    return len(directions) == 1 and not any(_nullable(column) for column, _ in order)


def _beyond(column: InstrumentedAttribute[Any], direction: Direction, key: Key) -> ColumnElement[bool]:
    # Postgres puts nulls last when ascending and first when descending.
    if direction == "asc":
        if key is None:
            return false()
        return or_(column > key, column.is_(None)) if _nullable(column) else column > key
    return column.is_not(None) if key is None else column < key


def _nullable(column: InstrumentedAttribute[Any]) -> bool:
    return bool(getattr(column.property.columns[0], "nullable", True))


def _encode(key: Key) -> list[object]:
    if isinstance(key, UUID):
        return ["u", key.hex]
    if isinstance(key, datetime):
        return ["t", key.isoformat()]
    return ["v", key]


def _decode(tag: str, value: str) -> Key:
    if tag == "u":
        return UUID(hex=value)
    if tag == "t":
        return datetime.fromisoformat(value)
    return value
