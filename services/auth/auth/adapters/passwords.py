"""Argon2id in threads, a few at a time."""

import asyncio
import secrets
from functools import cached_property

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP's first recommendation for Argon2id: 19 MiB, two passes, one lane.
MEMORY_KIB = 19 * 1024
PASSES = 2


class Argon2Passwords:
    """Hash and verify with Argon2id. A flood waits for the semaphore instead of filling memory and cores."""

    def __init__(self, *, concurrency: int) -> None:
        self._argon2 = Argon2(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)
        self._slots = asyncio.Semaphore(concurrency)

    async def hash(self, password: str) -> str:
        """Hash a new password with a fresh salt."""
        async with self._slots:
            return await asyncio.to_thread(self._argon2.hash, password)

    async def verify(self, password: str, stored: str | None) -> bool:
        """Compare with a stored hash; without one, spend the same time on a hash that nothing matches."""
        async with self._slots:
            matches = await asyncio.to_thread(self._matches, password, stored or self._decoy)
        return matches and stored is not None

    def _matches(self, password: str, stored: str) -> bool:
        try:
            return self._argon2.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    @cached_property
    def _decoy(self) -> str:
        return self._argon2.hash(secrets.token_urlsafe(32))
