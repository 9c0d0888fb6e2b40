"""Makers of what the unit tests are about, with defaults for what they are not."""

from collections.abc import Sequence
from typing import Any

from agent.domain.passages import Hit, Passage
from agent.domain.provider import ModelRequest, Turn, UserTurn
from agent.domain.steps import MODEL, RETRIEVAL, SUCCEEDED, TOOL, Step


def a_hit(text: str = "Penguins huddle.", *, document: str = "doc_1", start: int = 0, title: str = "Birds") -> Hit:
    return Hit(
        knowledge_base_id="kb_1",
        document_id=document,
        chunk_id=f"chunk_{document}_{start}",
        document_title=title,
        version=1,
        page=2,
        start=start,
        end=start + len(text),
        text=text,
        score=0.5,
    )


def passages(*texts: str) -> list[Passage]:
    return [Passage(index=number, hit=a_hit(text, document=f"doc_{number}")) for number, text in enumerate(texts, 1)]


def a_request(text: str = "", *, turns: Sequence[Turn] = (), found: Sequence[Passage] = ()) -> ModelRequest:
    return ModelRequest(model="offline", system="", turns=[UserTurn(text=text), *turns], passages=found)


def a_search(number: int = 1, *hits: Hit) -> Step:
    return Step(
        step=number,
        kind=RETRIEVAL,
        name="knowledge_search",
        state=SUCCEEDED,
        output={"hits": [h.as_json() for h in hits]},
    )


def an_answer(number: int, text: str = "", *, calls: Sequence[str] = ()) -> Step:
    tool_calls: list[dict[str, Any]] = [
        {"call_id": f"call_{number}_{position}", "name": name, "arguments": {}}
        for position, name in enumerate(calls, 1)
    ]
    output = {"text": text, "tool_calls": tool_calls, "citations": [], "finish_reason": "stop"}
    return Step(step=number, kind=MODEL, name="offline", state=SUCCEEDED, output=output)


def a_call(number: int, *, call_id: str, text: str = "4", name: str = "calculator", state: str = SUCCEEDED) -> Step:
    return Step(
        step=number,
        kind=TOOL,
        name=name,
        call_id=call_id,
        state=state,
        input={"arguments": {}, "effect": "pure", "tool_id": "", "version": 0, "timeout_seconds": 1},
        output={"text": text},
    )
