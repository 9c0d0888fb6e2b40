"""How often somebody may call: token buckets in the memory of this process."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from chassis.errors import RateLimited


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a caller after a request."""

    limit: int
    remaining: int
    reset_seconds: int
    """Until the bucket is full again."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the RateLimit-* headers."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset_seconds),
        ]


class RateLimiter:
    """A bucket for each caller. It holds a minute's worth of requests and fills evenly.

    Each replica counts for itself: with n replicas a caller may reach n times the limit. The least recently seen
    callers beyond `capacity` start anew.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, capacity: int = 100_000) -> None:
        self._clock = clock
        self._capacity = capacity
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str, per_minute: int) -> tuple[Allowance, RateLimited | None]:
        """Take one request from the bucket of `key`; returns what is left, and an error when nothing was."""
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(per_minute, now)
            if len(self._buckets) > self._capacity:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        rate = per_minute / 60
        bucket.tokens = min(per_minute, bucket.tokens + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        refused = None
        if bucket.tokens >= 1:
            bucket.tokens -= 1
        else:
            refused = RateLimited(retry_after=timedelta(seconds=(1 - bucket.tokens) / rate))
        left = Allowance(per_minute, int(bucket.tokens), math.ceil((per_minute - bucket.tokens) / rate))
        return left, refused
