"""Text that Postgres can store."""

from typing import Any


def storable(text: str) -> str:
    """Return the text without NUL characters, and with lone surrogates replaced."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def storable_json(value: Any) -> Any:  # Any: JSON of any shape
    """Return a JSON value whose texts are all storable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(name)): storable_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(part) for part in value]
    return value
