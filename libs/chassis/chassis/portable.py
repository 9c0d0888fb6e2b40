"""JSON that every part of the fleet can carry: Postgres stores it, a Struct holds it, every reader reads it."""

import math
from typing import Any, Final

Json = Any  # what json.loads returns: a recursive union that mypy cannot narrow usefully

MOST_LEVELS: Final = 24
"""Arrays and objects within each other. A Struct takes three of the hundred levels of protobuf for each of them."""
LARGEST_INTEGER: Final = 2**53
"""Beyond it a double, which is what a Struct has for numbers, skips some integers."""


class NotPortable(ValueError):
    """The value holds NaN, an infinity or an integer that is rounded on the way, or is nested too deep."""


def portable_text(text: str) -> str:
    """Return the text without U+0000, which Postgres cannot store, and with lone surrogates replaced."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def portable(value: Json, *, most_levels: int = MOST_LEVELS) -> Json:
    """Return a JSON value with all its texts portable, keys included.

    Raises NotPortable where nothing can be mended.
    """
    if isinstance(value, str):
        return portable_text(value)
    if isinstance(value, dict | list | tuple):
        return _portable_container(value, most_levels)
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise NotPortable("it holds an integer beyond 2^53")
    if isinstance(value, float) and not math.isfinite(value):
        raise NotPortable("it holds a number that is not finite")
    return value


def _portable_container(value: Json, levels: int) -> Json:
    if levels == 0:
        raise NotPortable(f"it is nested more than {MOST_LEVELS} deep")
    if isinstance(value, dict):
        return {portable_text(str(key)): portable(part, most_levels=levels - 1) for key, part in value.items()}
    return [portable(part, most_levels=levels - 1) for part in value]
