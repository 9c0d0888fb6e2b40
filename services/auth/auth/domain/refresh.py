"""Refresh tokens: each works once, a repeated exchange is forgiven for ten seconds, a later one ends the session.

The child's secret is derived from the parent's, so that a repeated exchange gives the same child although only hashes
are stored. Without the pepper a stolen parent says nothing about its descendants.
"""

import hashlib
import hmac
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from auth.domain import base62

GRACE = timedelta(seconds=10)  # longer than a lost reply and its retry, shorter than a thief's errand
_PREFIX = "dfr_"
_SECRET_LENGTH = 43


class Verdict(Enum):
    """What to do with a refresh token that was presented."""

    ROTATE = "rotate"
    REPEAT = "repeat"
    REUSED = "reused"
    EXPIRED = "expired"


def judge(*, used_time: datetime | None, expire_time: datetime, now: datetime) -> Verdict:
    """Decide from when the token was first exchanged. Reuse counts even after expiry: it still shows a thief."""
    if used_time is not None:
        return Verdict.REPEAT if now - used_time <= GRACE and now < expire_time else Verdict.REUSED
    return Verdict.ROTATE if now < expire_time else Verdict.EXPIRED


def mint(entropy: bytes) -> str:
    """Write the first token of a family from 32 random bytes."""
    if len(entropy) != 32:
        raise ValueError("a refresh token takes 32 random bytes")
    return _PREFIX + base62.encode(int.from_bytes(entropy, "big"), length=_SECRET_LENGTH)


def derive_child(parent: str, *, child_id: UUID, pepper: bytes) -> str:
    """Write the token that follows `parent`."""
    return mint(hmac.digest(pepper, b"refresh:" + child_id.bytes + parent.encode(), hashlib.sha256))


def is_well_formed(text: str) -> bool:
    """Say whether the text can be a refresh token at all."""
    secret = text.removeprefix(_PREFIX)
    return text.startswith(_PREFIX) and len(secret) == _SECRET_LENGTH and base62.is_base62(secret)


def digest(token: str) -> bytes:
    """Hash a token as it is stored. Its 256 random bits need neither salt nor stretching."""
    return hashlib.sha256(token.encode()).digest()
