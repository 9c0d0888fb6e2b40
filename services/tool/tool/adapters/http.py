"""Tools that are an HTTP request."""

import json
from collections.abc import Mapping
from typing import Any

from chassis.portable import portable
from chassis.safe_fetch import SafeFetcher
from tool.adapters.fetching import fetch
from tool.domain.definition import ToolDefinition
from tool.domain.errors import ExecutionFailed
from tool.domain.kinds import Effect
from tool.domain.templates import fill


class HttpExecutor:
    """Fills the template and sends the request; IDEMPOTENT tools carry the call's Idempotency-Key."""

    def __init__(self, fetcher: SafeFetcher) -> None:
        self._fetcher = fetcher

    async def execute(self, definition: ToolDefinition, arguments: Mapping[str, Any], *, idempotency_key: str) -> Any:
        if definition.http is None:
            raise ExecutionFailed("The tool has no HTTP template.")
        request = fill(definition.http, arguments)
        headers = dict(request.headers)
        if definition.effect is Effect.IDEMPOTENT and idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        reply = await fetch(
            self._fetcher,
            request.method,
            request.url,
            headers=headers,
            content=request.content,
            timeout=definition.timeout,
            max_bytes=definition.max_output_bytes,
        )
        return _output(reply.body, content_type=reply.headers.get("content-type", ""))


def _output(body: bytes, *, content_type: str) -> Any:
    """Return JSON where the reply says it is JSON and it is such as can be kept, else the text."""
    text = body.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
    if "json" in content_type:
        try:
            return portable(json.loads(text))
        except (ValueError, RecursionError):
            return text
    return text
