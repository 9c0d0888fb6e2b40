"""What goes wrong on the way to a provider in the middle of an answer, where the SDKs let it through."""

import importlib


def transport_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the HTTP clients that the SDKs are built on; which of them that is differs by version."""
    return tuple(error for name in ("httpx", "httpx2") if (error := _http_error(name)) is not None)


def _http_error(module: str) -> type[Exception] | None:
    try:
        found = importlib.import_module(module).HTTPError
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, Exception) else None
