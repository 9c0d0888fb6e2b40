"""What can go wrong with tools; the reasons are the values of ToolErrorReason.

Errors of an execution (ExecutionFailed and below) are outcomes: they are stored with the execution and told to the
model, never raised out of the service.
"""

from typing import ClassVar

from chassis.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound


class ToolNotFound(NotFound):
    """No tool with this id."""

    reason = "TOOL_NOT_FOUND"


class ToolVersionNotFound(NotFound):
    """The tool has no such version."""

    reason = "TOOL_VERSION_NOT_FOUND"


class ExecutionNotFound(NotFound):
    """No execution with this id."""

    reason = "EXECUTION_NOT_FOUND"


class ToolNameTaken(AlreadyExists):
    """Another tool has this name."""

    reason = "TOOL_NAME_TAKEN"


class ToolBuiltIn(FailedPrecondition):
    """Built-in tools cannot be changed or deleted."""

    reason = "TOOL_BUILT_IN"


class ToolDisabled(FailedPrecondition):
    """The tool is disabled."""

    reason = "TOOL_DISABLED"


class ToolSchemaInvalid(InvalidArgument):
    """The schema is not a valid JSON Schema of draft 2020-12 for an object."""

    reason = "TOOL_SCHEMA_INVALID"


class ToolTemplateInvalid(InvalidArgument):
    """The HTTP template cannot be filled from the input schema."""

    reason = "TOOL_TEMPLATE_INVALID"


class ToolArgumentsInvalid(InvalidArgument):
    """The arguments do not satisfy the tool's input schema."""

    reason = "TOOL_ARGUMENTS_INVALID"


class ExecutionOutcomeUnknown(Aborted):
    """The call was started before and never finished."""

    reason = "EXECUTION_OUTCOME_UNKNOWN"


class ExecutionFailed(Exception):
    """A tool's own error; its text is for the model and the person."""

    reason: ClassVar[str] = "TOOL_FAILED"


class ToolTimeout(ExecutionFailed):
    """The tool did not finish in time."""

    reason = "TOOL_TIMEOUT"


class ToolAddressRefused(ExecutionFailed):
    """The address is not public, or there is none of that name."""

    reason = "TOOL_ADDRESS_REFUSED"


class ToolUpstreamFailed(ExecutionFailed):
    """The other side could not be reached."""

    reason = "TOOL_UPSTREAM_FAILED"


class ToolUpstreamStatus(ExecutionFailed):
    """The other side answered with an error."""

    reason = "TOOL_UPSTREAM_STATUS"


class ToolOutputTooLarge(ExecutionFailed):
    """The output is larger than the tool's cap."""

    reason = "TOOL_OUTPUT_TOO_LARGE"


class ToolOutputInvalid(ExecutionFailed):
    """The output does not satisfy the tool's output schema."""

    reason = "TOOL_OUTPUT_INVALID"
