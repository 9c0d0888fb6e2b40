"""One way out for all tools: safe_fetch, with its failures as outcomes of an execution."""

from collections.abc import Mapping
from datetime import timedelta

from chassis.safe_fetch import AddressRefused, BodyTooLarge, Fetched, FetchFailed, FetchTimeout, SafeFetcher
from tool.domain.errors import (
    ToolAddressRefused,
    ToolOutputTooLarge,
    ToolTimeout,
    ToolUpstreamFailed,
    ToolUpstreamStatus,
)


async def fetch(
    fetcher: SafeFetcher,
    method: str,
    url: str,
    *,
    timeout: timedelta,
    max_bytes: int,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
) -> Fetched:
    """Return the reply to a request.

    Raises a subclass of ExecutionFailed when there is none, or one with a status of 400 or above.
    """
    try:
        fetched = await fetcher.fetch(
            method, url, headers=dict(headers or {}), content=content, timeout=timeout, max_bytes=max_bytes
        )
    except AddressRefused:
        raise ToolAddressRefused("The address is not public, or there is none of that name.") from None
    except FetchTimeout:
        raise ToolTimeout(f"No complete answer within {timeout.total_seconds():.0f} s.") from None
    except BodyTooLarge:
        raise ToolOutputTooLarge(f"The answer has more than {max_bytes} bytes.") from None
    except FetchFailed:
        raise ToolUpstreamFailed("The other side could not be reached.") from None
    if fetched.status >= 400:
        text = fetched.body[:500].decode(errors="replace")
        raise ToolUpstreamStatus(f"The other side answered with status {fetched.status}: {text}")
    return fetched
