"""Keys of the issuer: what each is for, when it signs, when it is published."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MAX_PUBLISHED = 2
ANNOUNCE = timedelta(minutes=5)  # a new key is published this long before it signs
LINGER = timedelta(minutes=15)  # an old key is published this long after it signed last; no token lives longer


class KeyPurpose(StrEnum):
    """What a key of the issuer is for."""

    ACCESS = "access"  # clients' access tokens; public halves in the JWKS
    CONTEXT = "context"  # tokens inside the fleet; public halves over gRPC only
    PEPPER = "pepper"  # keys the digests of secrets; no public half


@dataclass(frozen=True)
class KeyTimes:
    """When a key signs and is published."""

    kid: str
    sign_from: datetime
    retire_time: datetime | None

    def is_published(self, now: datetime) -> bool:
        """Say whether verifiers should accept the key."""
        return self.retire_time is None or now < self.retire_time


def choose_signer(keys: Sequence[KeyTimes], now: datetime) -> KeyTimes | None:
    """Return the newest key that has begun to sign; None when there is none."""
    ready = [key for key in keys if key.sign_from <= now and key.is_published(now)]
    return max(ready, key=lambda key: (key.sign_from, key.kid), default=None)
