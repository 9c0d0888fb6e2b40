"""Executing a tool: record the intent, execute while no transaction is open, record the outcome."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

from chassis.boundary import entering_network
from chassis.data.unit_of_work import Acquire
from definable.tool.v1.events_pb2 import ToolExecuted
from tool import models
from tool.application import tools
from tool.application.tools import PinnedTool
from tool.domain import ids, schemas
from tool.domain.errors import (
    ExecutionFailed,
    ExecutionNotFound,
    ExecutionOutcomeUnknown,
    ToolArgumentsInvalid,
    ToolOutputInvalid,
    ToolOutputTooLarge,
    ToolTimeout,
)
from tool.domain.kinds import Effect, ExecutionState, Kind
from tool.domain.ports import Executor
from tool.unit_of_work import ToolUnitOfWork


@dataclass(frozen=True)
class RunCall:
    """A tool call of a run; the pair of ids names the execution."""

    run_id: UUID
    call_id: str
    idempotency_key: str


@dataclass(frozen=True)
class Outcome:
    """How an execution ended. With an `error` there is no output."""

    duration_ms: int
    output: Any = None
    error: ExecutionFailed | None = None


class ExecuteTool:
    """Execute one tool once."""

    def __init__(self, acquire: Acquire[ToolUnitOfWork], executors: Mapping[Kind, Executor]) -> None:
        self._acquire = acquire
        self._executors = executors

    async def __call__(
        self, tool_id: UUID, arguments: Mapping[str, Any], *, version: int = 0, call: RunCall | None = None
    ) -> models.Execution:
        """Return the finished execution; an error of the tool is one of its outcomes.

        Repeating a run's call returns what was recorded the first time.
        Raises ToolNotFound, ToolVersionNotFound, ToolDisabled, ExecutionOutcomeUnknown and, outside runs,
        ToolArgumentsInvalid.
        """
        async with self._acquire() as work:
            earlier = await work.executions.of_call(call.run_id, call.call_id) if call else None
            if earlier is not None and earlier.state != ExecutionState.RUNNING:
                return earlier
            tool = await tools.pinned_and_enabled(work, tool_id, version)
            wrong = schemas.violations(dict(arguments), tool.definition.input_schema, field="arguments")
            if wrong and call is None:
                raise ToolArgumentsInvalid(violations=wrong)
            execution = _again(earlier, tool) if earlier is not None else _begin(work, tool, arguments, call)
            await work.session.flush()
        problem = "; ".join(f"{violation.field}: {violation.description}" for violation in wrong)
        outcome = (
            Outcome(0, error=_InvalidArguments(problem))
            if wrong
            else await self._execute(tool, arguments, idempotency_key=call.idempotency_key if call else "")
        )
        async with self._acquire() as work:
            return await _finish(work, execution.id, outcome)

    async def _execute(self, tool: PinnedTool, arguments: Mapping[str, Any], *, idempotency_key: str) -> Outcome:
        entering_network("tool")
        begun = monotonic()
        definition = tool.definition
        try:
            async with asyncio.timeout(definition.timeout.total_seconds()):
                output = await self._executors[definition.kind].execute(
                    definition, arguments, idempotency_key=idempotency_key
                )
            _check_output(tool, output)
        except TimeoutError:
            error = ToolTimeout(f"The tool did not finish in {definition.timeout.total_seconds():g} s.")
            return Outcome(_milliseconds_since(begun), error=error)
        except ExecutionFailed as failure:
            return Outcome(_milliseconds_since(begun), error=failure)
        return Outcome(_milliseconds_since(begun), output=output)


class _InvalidArguments(ExecutionFailed):
    """The model passed arguments that the schema refuses; it is told, so that it can mend them."""

    reason = ToolArgumentsInvalid.reason


def _begin(
    work: ToolUnitOfWork, tool: PinnedTool, arguments: Mapping[str, Any], call: RunCall | None
) -> models.Execution:
    execution = models.Execution(
        organization_id=work.organization_id,
        id=work.new_id(),
        tool_id=tool.id,
        tool_name=tool.definition.name,
        tool_version=tool.version,
        run_id=call.run_id if call else None,
        call_id=call.call_id if call else "",
        state=ExecutionState.RUNNING,
        arguments=dict(arguments),
        output=None,
        is_error=False,
        error_reason="",
        error_message="",
        duration_ms=None,
        create_time=work.now(),
    )
    work.executions.add(execution)
    return execution


def _again(earlier: models.Execution, tool: PinnedTool) -> models.Execution:
    """Return the execution to repeat. Raises ExecutionOutcomeUnknown when a repetition could have the effect twice."""
    if tool.definition.effect is Effect.AT_MOST_ONCE:
        raise ExecutionOutcomeUnknown(id=ids.EXECUTION.show(earlier.id))
    return earlier


async def _finish(work: ToolUnitOfWork, execution_id: UUID, outcome: Outcome) -> models.Execution:
    execution = await work.executions.get(execution_id)
    if execution is None:
        raise ExecutionNotFound(id=ids.EXECUTION.show(execution_id))
    execution.state = ExecutionState.FAILED if outcome.error else ExecutionState.SUCCEEDED
    execution.output = outcome.output
    execution.is_error = outcome.error is not None
    execution.error_reason = outcome.error.reason if outcome.error else ""
    execution.error_message = str(outcome.error)[:4000] if outcome.error else ""
    execution.duration_ms = outcome.duration_ms
    work.outbox.add(
        ToolExecuted(
            tool_id=ids.TOOL.show(execution.tool_id),
            execution_id=ids.EXECUTION.show(execution_id),
            run_id=ids.RUN.show(execution.run_id) if execution.run_id else "",
            is_error=execution.is_error,
        ),
        target=ids.TOOL.show(execution.tool_id),
    )
    await work.session.flush()
    return execution


def _check_output(tool: PinnedTool, output: Any) -> None:
    size = len(json.dumps(output).encode())
    if size > tool.definition.max_output_bytes:
        raise ToolOutputTooLarge(
            f"The output has {size} bytes; at most {tool.definition.max_output_bytes} are allowed."
        )
    if tool.definition.output_schema:
        wrong = schemas.violations(output, tool.definition.output_schema, field="output")
        if wrong:
            raise ToolOutputInvalid(f"{wrong[0].field}: {wrong[0].description}")


def _milliseconds_since(begun: float) -> int:
    return round((monotonic() - begun) * 1000)
