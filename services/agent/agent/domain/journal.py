"""Types of events in a run's journal, and what a reader makes of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agent.domain.ports import JournalEvent

MESSAGE_CREATED = "message.created"
RUN_STARTED = "run.started"
STEP_STARTED = "step.started"
STEP_RESTARTED = "step.restarted"
STEP_COMPLETED = "step.completed"
RETRIEVAL_COMPLETED = "retrieval.completed"
TOOL_CALL_STARTED = "tool_call.started"
TOOL_CALL_REQUIRES_APPROVAL = "tool_call.requires_approval"
TOOL_CALL_COMPLETED = "tool_call.completed"
REASONING_DELTA = "reasoning.delta"
MESSAGE_DELTA = "message.delta"
MESSAGE_CITATION = "message.citation"
MESSAGE_COMPLETED = "message.completed"
USAGE = "usage"
RUN_REQUIRES_ACTION = "run.requires_action"
RUN_COMPLETED = "run.completed"
RUN_FAILED = "run.failed"
RUN_CANCELLED = "run.cancelled"

TERMINAL = frozenset({RUN_COMPLETED, RUN_FAILED, RUN_CANCELLED})
# After one of these a connection ends.
LAST_WORDS = TERMINAL | {RUN_REQUIRES_ACTION}
# What makes up an answer, for reading it from the journal.
OF_THE_ANSWER = (MESSAGE_DELTA, MESSAGE_CITATION, STEP_RESTARTED)


@dataclass
class Reading:
    """An answer as its stream shows it."""

    text: str = ""
    citations: list[dict[str, Any]] = field(default_factory=list)


def read_answer(events: Iterable[JournalEvent]) -> Reading:
    """Put an answer together from its events, leaving out what restarts have voided."""
    by_step: dict[int, Reading] = {}
    for event in events:
        step = int(event.data["step"])
        if event.type == STEP_RESTARTED:
            by_step.pop(step, None)
        elif event.type == MESSAGE_DELTA:
            by_step.setdefault(step, Reading()).text += event.data["text"]
        elif event.type == MESSAGE_CITATION:
            by_step.setdefault(step, Reading()).citations.append(dict(event.data))
    whole = Reading()
    for _, part in sorted(by_step.items()):
        whole.text += part.text
        whole.citations.extend(part.citations)
    return whole
