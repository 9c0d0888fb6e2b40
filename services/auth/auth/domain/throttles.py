"""How many attempts are let through before a caller has to wait."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Limit:
    """At most `attempts` in a window that starts with the first of them."""

    name: str
    attempts: int
    window: timedelta

    def key(self, subject: str, *, pepper: bytes) -> bytes:
        """Name the counter of one account or address without storing which."""
        return hmac.digest(pepper, f"throttle:{self.name}:{subject}".encode(), hashlib.sha256)
