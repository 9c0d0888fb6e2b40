"""What executes tools of one kind."""

from collections.abc import Mapping
from typing import Any, Protocol

from tool.domain.definition import ToolDefinition


class Executor(Protocol):
    """Executes tools of one kind; the caller has checked the arguments and keeps the time."""

    async def execute(self, definition: ToolDefinition, arguments: Mapping[str, Any], *, idempotency_key: str) -> Any:
        """Return the output as JSON. Raises ExecutionFailed, with a text for the model, when the tool itself fails."""
