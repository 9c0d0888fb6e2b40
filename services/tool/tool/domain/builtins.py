"""The built-in tools: the same ids, names and schemas in every organization."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from tool.domain.definition import ToolDefinition
from tool.domain.kinds import Effect, Kind

CALCULATOR = UUID("00000000-0000-7000-8000-000000000001")
CURRENT_TIME = UUID("00000000-0000-7000-8000-000000000002")
FETCH_PAGE = UUID("00000000-0000-7000-8000-000000000003")

VERSION = 1


def _arguments(required: list[str], **properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


BUILTINS: Mapping[UUID, ToolDefinition] = {
    CALCULATOR: ToolDefinition(
        name="calculator",
        description="Calculates an arithmetic expression exactly. Use it for any computation beyond trivial sums.",
        kind=Kind.BUILTIN,
        effect=Effect.PURE,
        input_schema=_arguments(
            ["expression"],
            expression={
                "type": "string",
                "minLength": 1,
                "maxLength": 500,
                "description": "Numbers, + - * / // % **, parentheses, pi, e, and functions such as sqrt, log, sin, "
                "round, min, max.",
            },
        ),
        timeout=timedelta(seconds=5),
    ),
    CURRENT_TIME: ToolDefinition(
        name="current_time",
        description="Tells the current date and time in a time zone.",
        kind=Kind.BUILTIN,
        effect=Effect.PURE,
        input_schema=_arguments(
            [],
            time_zone={
                "type": "string",
                "maxLength": 64,
                "description": "An IANA name such as Europe/Berlin; UTC when left out.",
            },
        ),
        timeout=timedelta(seconds=5),
    ),
    FETCH_PAGE: ToolDefinition(
        name="fetch_page",
        description="Reads a public web page and returns its text.",
        kind=Kind.BUILTIN,
        effect=Effect.PURE,
        input_schema=_arguments(
            ["url"], url={"type": "string", "maxLength": 2000, "description": "An absolute http or https URL."}
        ),
        timeout=timedelta(seconds=30),
    ),
}

NAMES = {definition.name: tool_id for tool_id, definition in BUILTINS.items()} | {"knowledge_search": None}
