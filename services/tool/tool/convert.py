"""Rows and definitions as messages of the contract, and back."""

import json
from datetime import timedelta
from typing import Any

from google.protobuf import json_format, struct_pb2

from chassis.data.database import etag
from chassis.errors import ValidationFailed, Violation
from chassis.rpc.times import duration, timestamp
from definable.tool.v1 import run_tool_service_pb2 as run_pb
from definable.tool.v1 import tool_service_pb2 as pb
from tool import models
from tool.application.tools import PinnedTool
from tool.domain import ids, schemas
from tool.domain.builtins import BUILTINS
from tool.domain.definition import DEFAULT_MAX_OUTPUT_BYTES, DEFAULT_TIMEOUT, MAX_TIMEOUT, ToolDefinition
from tool.domain.kinds import Effect, Kind, Policy
from tool.domain.templates import HttpTemplate

SHOWN_CHARACTERS = 16_384
DEFINITION_FIELDS = (
    "name",
    "description",
    "input_schema",
    "output_schema",
    "effect",
    "policy",
    "http",
    "timeout",
    "max_output_bytes",
)


def tool(row: models.Tool) -> pb.Tool:
    """Return a tool of an organization as it is shown."""
    shown = _definition(ToolDefinition.from_json(row.definition))
    shown.MergeFrom(
        pb.Tool(
            id=ids.TOOL.show(row.id),
            disabled=row.disabled,
            version=row.version,
            create_time=timestamp(row.create_time),
            update_time=timestamp(row.update_time),
            etag=etag(row),
        )
    )
    return shown


def pinned(tool: PinnedTool) -> pb.Tool:
    """Return a built-in tool as it is shown."""
    shown = _definition(tool.definition)
    shown.id, shown.version = ids.TOOL.show(tool.id), tool.version
    return shown


def builtins() -> list[pb.Tool]:
    """Return the built-in tools as they are shown."""
    return [pinned(PinnedTool(tool_id, 1, definition)) for tool_id, definition in BUILTINS.items()]


def _definition(definition: ToolDefinition) -> pb.Tool:
    http = definition.http
    return pb.Tool(
        name=definition.name,
        description=definition.description,
        kind=pb.ToolKind.Value(f"TOOL_KIND_{definition.kind}"),
        input_schema=struct(definition.input_schema),
        output_schema=struct(definition.output_schema) if definition.output_schema else None,
        effect=pb.EffectClass.Value(f"EFFECT_CLASS_{definition.effect}"),
        policy=pb.ToolPolicy.Value(f"TOOL_POLICY_{definition.policy}"),
        http=pb.HttpTemplate(method=http.method, url=http.url, headers=http.headers, body=http.body) if http else None,
        timeout=duration(definition.timeout),
        max_output_bytes=definition.max_output_bytes,
    )


def definition(given: pb.Tool) -> ToolDefinition:
    """Return the definition of an HTTP tool.

    Raises ValidationFailed without `http`, or with a time-out out of range.
    """
    if not given.HasField("http"):
        raise ValidationFailed(violations=[Violation("tool.http", "is required", "required")])
    fields = {name: definition_field(given, name) for name in DEFINITION_FIELDS}
    return ToolDefinition(kind=Kind.HTTP, **fields)


def definition_field(given: pb.Tool, name: str) -> Any:
    """Return one field of a definition as the message gives it, with its default where it was left out."""
    match name:
        case "input_schema":
            return json_format.MessageToDict(given.input_schema) or dict(schemas.NO_ARGUMENTS)
        case "output_schema":
            return json_format.MessageToDict(given.output_schema)
        case "effect":
            return Effect(
                pb.EffectClass.Name(given.effect or pb.EFFECT_CLASS_AT_MOST_ONCE).removeprefix("EFFECT_CLASS_")
            )
        case "policy":
            return Policy(pb.ToolPolicy.Name(given.policy or pb.TOOL_POLICY_ALLOW).removeprefix("TOOL_POLICY_"))
        case "http":
            http = given.http
            return HttpTemplate(method=http.method, url=http.url, headers=dict(http.headers), body=http.body)
        case "timeout":
            return _timeout(given)
        case "max_output_bytes":
            return given.max_output_bytes or DEFAULT_MAX_OUTPUT_BYTES
    return getattr(given, name)


def _timeout(given: pb.Tool) -> timedelta:
    if not given.HasField("timeout"):
        return DEFAULT_TIMEOUT
    timeout = given.timeout.ToTimedelta()
    if not timedelta(seconds=1) <= timeout <= MAX_TIMEOUT:
        raise ValidationFailed(violations=[Violation("tool.timeout", "must be 1 s to 120 s", "duration")])
    return timeout


def run_tool(tool: PinnedTool) -> run_pb.RunTool:
    """Return a tool as a run sees it."""
    definition = tool.definition
    return run_pb.RunTool(
        tool_id=ids.TOOL.show(tool.id),
        name=definition.name,
        description=definition.description,
        input_schema=struct(definition.input_schema),
        effect=pb.EffectClass.Value(f"EFFECT_CLASS_{definition.effect}"),
        policy=pb.ToolPolicy.Value(f"TOOL_POLICY_{definition.policy}"),
        version=tool.version,
        timeout=duration(definition.timeout),
    )


def execution(row: models.Execution) -> pb.ToolExecution:
    """Return an execution as it is shown, long arguments and output cut."""
    return pb.ToolExecution(
        id=ids.EXECUTION.show(row.id),
        tool_id=ids.TOOL.show(row.tool_id),
        tool_name=row.tool_name,
        tool_version=row.tool_version,
        run_id=ids.RUN.show(row.run_id) if row.run_id else "",
        state=pb.ToolExecutionState.Value(f"TOOL_EXECUTION_STATE_{row.state}"),
        arguments=struct(_cut(row.arguments)),
        output=None if row.output is None else value(_cut(row.output)),
        is_error=row.is_error,
        error_reason=row.error_reason,
        error_message=row.error_message,
        duration=None if row.duration_ms is None else duration(timedelta(milliseconds=row.duration_ms)),
        create_time=timestamp(row.create_time),
    )


def executed(row: models.Execution) -> run_pb.ExecuteForRunResponse:
    """Return the outcome of an execution to the run, whole."""
    return run_pb.ExecuteForRunResponse(
        output=value(row.error_message if row.is_error else row.output),
        is_error=row.is_error,
        error_reason=row.error_reason,
        duration=duration(timedelta(milliseconds=row.duration_ms or 0)),
        execution_id=ids.EXECUTION.show(row.id),
    )


def struct(given: Any) -> struct_pb2.Struct:
    """Return a JSON object as a Struct."""
    return json_format.ParseDict(dict(given), struct_pb2.Struct())


def value(given: Any) -> struct_pb2.Value:
    """Return any JSON as a Value."""
    return json_format.ParseDict(given, struct_pb2.Value())


def _cut(given: Any) -> Any:
    text = json.dumps(given)
    if len(text) <= SHOWN_CHARACTERS:
        return given
    return {"truncated": True, "beginning": text[:SHOWN_CHARACTERS]}
