"""The built-in tools."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chassis.safe_fetch import SafeFetcher
from tool.adapters.fetching import fetch
from tool.adapters.page_text import text_of
from tool.domain.calculator import calculate
from tool.domain.definition import ToolDefinition
from tool.domain.errors import ExecutionFailed


class BuiltinExecutor:
    """Calculator, current time and page fetching."""

    def __init__(
        self, fetcher: SafeFetcher, *, max_page_bytes: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._fetcher = fetcher
        self._max_page_bytes = max_page_bytes
        self._now = now
        self._tools: Mapping[str, Callable[[ToolDefinition, Mapping[str, Any]], Awaitable[Any]]] = {
            "calculator": self._calculator,
            "current_time": self._current_time,
            "fetch_page": self._fetch_page,
        }

    async def execute(self, definition: ToolDefinition, arguments: Mapping[str, Any], *, idempotency_key: str) -> Any:
        return await self._tools[definition.name](definition, arguments)

    async def _calculator(self, definition: ToolDefinition, arguments: Mapping[str, Any]) -> Any:
        return {"result": calculate(str(arguments["expression"]))}

    async def _current_time(self, definition: ToolDefinition, arguments: Mapping[str, Any]) -> Any:
        name = str(arguments.get("time_zone") or "UTC")
        try:
            local = self._now().astimezone(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ExecutionFailed(f"There is no time zone {name[:64]!r}.") from None
        return {"time": local.isoformat(timespec="seconds"), "time_zone": name, "weekday": local.strftime("%A")}

    async def _fetch_page(self, definition: ToolDefinition, arguments: Mapping[str, Any]) -> Any:
        page = await fetch(
            self._fetcher, "GET", str(arguments["url"]), timeout=definition.timeout, max_bytes=self._max_page_bytes
        )
        title, text = text_of(page.body, content_type=page.headers.get("content-type", ""))
        # Room for the JSON around it and for characters of several bytes.
        room = (definition.max_output_bytes - 4_096) // 4
        return {"url": page.final_url, "title": title, "text": text[:room], "truncated": len(text) > room}
