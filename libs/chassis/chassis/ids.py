"""Ids: UUIDv7 inside, typed text outside. "kb_01kb…" is "kb", an underscore and 26 characters of Crockford base32.

Text has one spelling only, lower case, so that ids can be compared as text. UUIDs made here rise with time.
"""

import re
import secrets
import time
from dataclasses import dataclass
from uuid import UUID

from chassis.errors import InvalidId

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_LENGTH = 26
_PREFIX = re.compile(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*")


@dataclass(frozen=True, slots=True)
class IdKind:
    """The ids of one kind of resource."""

    prefix: str

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError(f"not a prefix of ids: {self.prefix!r}")

    def show(self, value: UUID) -> str:
        """Return the id as clients see it."""
        return f"{self.prefix}_{_encode(value)}"

    def parse(self, text: str, *, field: str = "id") -> UUID:
        """Return the UUID of an id.

        Raises InvalidId, which names `field`, when the text is malformed or the id of another kind of resource.
        """
        prefix, separator, digits = text.rpartition("_")
        value = _decode(digits) if separator and prefix == self.prefix else None
        if value is None:
            raise InvalidId(field=field, expected=self.prefix)
        return value


ORGANIZATION = IdKind("org")
USER = IdKind("user")
API_KEY = IdKind("key")


def job_id(service: str) -> IdKind:
    """Return the kind of a service's jobs: the id says whom to ask."""
    return IdKind(f"job_{service}")


def parse_any(text: str, *, field: str = "id") -> tuple[str, UUID]:
    """Return prefix and UUID of an id of any kind. Raises InvalidId when it is none."""
    prefix, _, digits = text.rpartition("_")
    value = _decode(digits)
    if value is None or not _PREFIX.fullmatch(prefix):
        raise InvalidId(field=field, expected="<kind>")
    return prefix, value


def new_id() -> UUID:
    """Return a UUIDv7: 48 bits of milliseconds, 12 bits of what is left of the clock, 62 bits of chance."""
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return UUID(int=value)


def _encode(value: UUID) -> str:
    number = value.int
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))


def _decode(digits: str) -> UUID | None:
    # 26 characters hold 130 bits, so the first one is at most 7.
    if len(digits) != _LENGTH or digits[0] > "7":
        return None
    number = 0
    for character in digits:
        value = _VALUES.get(character)
        if value is None:
            return None
        number = number << 5 | value
    return UUID(int=number)
