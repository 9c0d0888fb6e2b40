"""What auth needs of a password hash."""

from typing import Protocol


class PasswordHasher(Protocol):
    """Hashes passwords slowly, a few at a time."""

    async def hash(self, password: str) -> str:
        """Hash a new password."""

    async def verify(self, password: str, stored: str | None) -> bool:
        """Compare with a stored hash. Takes as long when there is none, and then says False."""
