"""Tool steps: which call needs a person, which may be repeated, what the model is told."""

from dataclasses import replace

from agent.application.claimed_run import ClaimedRun
from agent.application.retrieving import search
from agent.domain import ids, journal
from agent.domain.definition import ALLOW, ASK, DENY, Definition, Retrieval
from agent.domain.passages import numbered_text
from agent.domain.ports import Knowledge, RunnableTool, ToolOutcome, Tools
from agent.domain.prompt import KNOWLEDGE_SEARCH
from agent.domain.provider import ToolCall
from agent.domain.steps import APPROVAL, APPROVED, AT_MOST_ONCE, DENIED, OUTCOME_UNKNOWN, PURE, Step
from chassis.errors import FleetError, PermissionDenied, Unauthenticated
from chassis.portable import portable_text

# A tool's output as the model sees it ends here, in characters.
LONGEST_OUTPUT = 100_000

_STRICTNESS = {ALLOW: 0, ASK: 1, DENY: 2}


class OutcomeUnknown(Exception):
    """A call that must not happen twice may have happened."""


async def describe_tools(tools: Tools, definition: Definition) -> dict[str, RunnableTool]:
    """Return the tools that the model may call, by name, with the stricter of the agent's policy and their own.

    Raises what the tool service raises.
    """
    grants = {grant.tool_id: grant.policy for grant in definition.callable_tools}
    if not grants:
        return {}
    described = await tools.describe(list(grants))
    merged = [_with_policy(tool, grants.get(tool.tool_id, "")) for tool in described]
    return {tool.name: tool for tool in merged if tool.policy != DENY and tool.name != KNOWLEDGE_SEARCH}


def _with_policy(tool: RunnableTool, granted: str) -> RunnableTool:
    strictest = max(tool.policy, granted or ALLOW, key=_STRICTNESS.__getitem__)
    return replace(tool, policy=strictest)


def intend_call(run: ClaimedRun, step: Step, call: ToolCall) -> None:
    """Write down what the step is going to do, before it does it."""
    tool = run.tools.get(call.name)
    step.input = {
        "arguments": None if call.arguments is None else dict(call.arguments),
        "tool_id": tool.tool_id if tool else "",
        "version": tool.version if tool else 0,
        "effect": tool.effect if tool else PURE,
        "timeout_seconds": tool.timeout.total_seconds() if tool else 0,
    }


def needs_approval(run: ClaimedRun, step: Step) -> bool:
    """Whether a person has to allow the call and has not been asked."""
    tool = run.tools.get(step.name)
    return tool is not None and tool.policy == ASK and step.decision != APPROVED and refusal(run, step) is None


def ask(run: ClaimedRun, step: Step, question: str) -> None:
    """Let the step wait for a person."""
    step.state, step.question, step.decision = "waiting", question, ""
    if question == APPROVAL:
        run.announce(journal.TOOL_CALL_REQUIRES_APPROVAL, step, **_shown(step))


def announce_call(run: ClaimedRun, step: Step) -> None:
    run.announce(journal.TOOL_CALL_STARTED, step, **_shown(step))


def _shown(step: Step) -> dict[str, object]:
    return {
        "call_id": step.call_id,
        "tool_id": step.input["tool_id"],
        "name": step.name,
        "arguments": step.input["arguments"] or {},
    }


def refusal(run: ClaimedRun, step: Step) -> ToolOutcome | None:
    """Return what the model is told about a call that cannot be made; None when it can."""
    if step.decision == DENIED:
        return _denial(step)
    if step.name != KNOWLEDGE_SEARCH and step.name not in run.tools:
        return _error("TOOL_UNKNOWN", f"There is no tool named {step.name}.")
    if step.name == KNOWLEDGE_SEARCH and not run.definition.knowledge_base_ids:
        return _error("TOOL_UNKNOWN", "There are no knowledge bases to search.")
    if step.input["arguments"] is None:
        return _error("ARGUMENTS_INVALID", "The arguments were not a JSON object of plain numbers and moderate depth.")
    return None


def _denial(step: Step) -> ToolOutcome:
    if step.question == OUTCOME_UNKNOWN:
        return _error("OUTCOME_UNKNOWN", "The call was interrupted; whether it had its effect is not known.")
    return _error("CALL_DENIED", "A person did not allow this call.")


def _error(reason: str, text: str) -> ToolOutcome:
    return ToolOutcome(text=text, is_error=True, error_reason=reason)


class CallMaker:
    """Makes the calls of runs: knowledge searches itself, everything else through the tool service."""

    def __init__(self, tools: Tools, knowledge: Knowledge) -> None:
        self._tools = tools
        self._knowledge = knowledge

    async def make(self, run: ClaimedRun, step: Step) -> ToolOutcome:
        """Make a call once. What the model can mend is an outcome, what it cannot is raised.

        Raises OutcomeUnknown, and retryable FleetErrors of peers for calls that may be repeated.
        """
        try:
            if step.name == KNOWLEDGE_SEARCH:
                return await self._search(run, step)
            return await self._execute(run, step)
        except (PermissionDenied, Unauthenticated):
            raise
        except FleetError as error:
            if may_have_happened(step, error):
                raise OutcomeUnknown from error
            if error.is_retryable or error.code in (PermissionDenied.code, Unauthenticated.code):
                raise
            return _error(error.reason, str(error))

    async def _execute(self, run: ClaimedRun, step: Step) -> ToolOutcome:
        tool = run.tools[step.name]
        call = self._tools.execute(
            tool_id=step.input["tool_id"],
            version=step.input["version"],
            arguments=step.input["arguments"],
            run_id=ids.RUN.show(run.run_id),
            call_id=_execution_key(step),
            timeout=tool.timeout,
        )
        return await run.guarded(call)

    async def _search(self, run: ClaimedRun, step: Step) -> ToolOutcome:
        arguments = step.input["arguments"]
        query, top_k = arguments.get("query"), arguments.get("top_k", 0)
        if not isinstance(query, str) or not query.strip() or not _is_count(top_k):
            return _error("ARGUMENTS_INVALID", "Wanted: a query (text), and optionally top_k (1 to 50).")
        configured = run.definition.retrieval
        retrieval = Retrieval(mode=configured.mode, top_k=int(top_k) or configured.top_k)
        passages = await search(self._knowledge, run, step, query=query, retrieval=retrieval)
        return ToolOutcome(text=numbered_text(passages) or "Nothing was found.")


def _is_count(top_k: object) -> bool:
    """Whether it is a whole number up to 50; numbers that came through protobuf are floats."""
    return isinstance(top_k, int | float) and not isinstance(top_k, bool) and top_k == int(top_k) and 0 <= top_k <= 50


def _execution_key(step: Step) -> str:
    """Return the id under which the tool service has the call's effect once.

    A person who repeats a call of unknown outcome wants the effect again, so that repetition has an id of its own.
    """
    repeated = step.question == OUTCOME_UNKNOWN and step.decision == APPROVED
    return f"{step.call_id}_{step.attempt}" if repeated else step.call_id


def may_have_happened(step: Step, error: FleetError) -> bool:
    """Whether a failed call that must not happen twice may have happened."""
    if step.input["effect"] != AT_MOST_ONCE or step.name == KNOWLEDGE_SEARCH:
        return False
    return error.is_retryable or error.reason == "EXECUTION_OUTCOME_UNKNOWN"


def record_outcome(run: ClaimedRun, step: Step, outcome: ToolOutcome) -> None:
    """Write down what a call gave back."""
    step.output.update(
        text=portable_text(outcome.text[:LONGEST_OUTPUT]),
        is_error=outcome.is_error,
        error_reason=outcome.error_reason,
        execution_id=outcome.execution_id,
    )
    step.error_reason = outcome.error_reason
    run.announce(
        journal.TOOL_CALL_COMPLETED,
        step,
        call_id=step.call_id,
        name=step.name,
        is_error=outcome.is_error,
        error_reason=outcome.error_reason,
        output=step.output["text"],
    )
