"""Model steps: ask, stream the answer into the journal, find its citations and calls."""

from contextlib import aclosing
from typing import Any, Protocol, cast

from agent.application.claimed_run import ClaimedRun
from agent.domain import journal
from agent.domain.citations import CitationScanner
from agent.domain.models import ModelSpec
from agent.domain.passages import Hit
from agent.domain.plan import calls_of
from agent.domain.prompt import KNOWLEDGE_SEARCH_TOOL, system_text, turns_of
from agent.domain.provider import (
    Finish,
    ModelProvider,
    ModelRequest,
    Piece,
    ReasoningPiece,
    TextPiece,
    ToolRequest,
    ToolSpec,
)
from agent.domain.steps import RETRIEVAL, Step, Usage
from chassis.portable import NotPortable, portable, portable_text

# Stands between what the model says before calls and what it says after them.
PARAGRAPH = "\n\n"


class Providers(Protocol):
    """The providers by model."""

    def of(self, model: ModelSpec) -> ModelProvider:
        """Return who serves a model. Raises ModelNotFound."""
        ...


def begin_answer(run: ClaimedRun, step: Step) -> None:
    """Note where in the answer the step begins, so that a restart can go back there."""
    step.input["text_start"] = len(run.text)


async def ask_model(providers: Providers, run: ClaimedRun, step: Step) -> None:
    """Ask the model once and record what it said, wants to call and used in the step.

    Raises ModelNotFound and what providers raise.
    """
    answer = _Answer(run, step)
    await run.guarded(_listen(providers.of(run.model), _request(run), answer))
    answer.conclude()


async def _listen(provider: ModelProvider, request: ModelRequest, answer: "_Answer") -> None:
    async with aclosing(provider.stream(request)) as pieces:
        async for piece in pieces:
            answer.hear(piece)


def _request(run: ClaimedRun) -> ModelRequest:
    first = [step for step in run.steps if step.kind == RETRIEVAL and step.is_recorded]
    found = run.passages.add([Hit.from_json(hit) for step in first for hit in step.output["hits"]])
    return ModelRequest(
        model=run.model.name,
        system=system_text(run.definition, found),
        turns=turns_of(history=run.history, text=run.input, steps=run.steps),
        tools=_tools(run),
        parameters=run.definition.parameters,
        passages=run.passages.all(),
    )


def _tools(run: ClaimedRun) -> list[ToolSpec]:
    own = [KNOWLEDGE_SEARCH_TOOL] if run.definition.knowledge_base_ids else []
    others = [
        ToolSpec(name=tool.name, description=tool.description, input_schema=tool.input_schema)
        for tool in run.tools.values()
    ]
    return [*own, *others]


class _Answer:
    """Puts the pieces of one answer where they belong."""

    def __init__(self, run: ClaimedRun, step: Step) -> None:
        self._run = run
        self._step = step
        self._start = step.input["text_start"]
        self._cited_before = len(run.citations)
        self._scanner: CitationScanner | None = None
        self._requests: list[ToolRequest] = []
        self._finish = Finish(input_tokens=0, output_tokens=0)

    def hear(self, piece: Piece) -> None:
        match piece:
            case TextPiece():
                self._say(portable_text(piece.text))
            case ReasoningPiece():
                text = portable_text(piece.text)
                self._run.journal.append_delta(journal.REASONING_DELTA, self._step.place, text)
            case ToolRequest():
                self._requests.append(piece)
            case Finish():
                self._finish = piece

    def _say(self, text: str) -> None:
        if not text:
            return
        if self._scanner is None:
            if self._run.text and not self._run.text.endswith("\n"):
                self._run.say(self._step, PARAGRAPH)
            self._scanner = CitationScanner(self._run.passages, offset=len(self._run.text))
        self._run.say(self._step, text)
        for mark in self._scanner.feed(text):
            self._run.cite(self._step, mark)

    def conclude(self) -> None:
        run, step, finish = self._run, self._step, self._finish
        step.usage = Usage(
            input_tokens=finish.input_tokens,
            output_tokens=finish.output_tokens,
            cost_nano_usd=run.model.cost_nano_usd(input_tokens=finish.input_tokens, output_tokens=finish.output_tokens),
        )
        run.usage.add(step.usage)
        step.output = {
            "text": run.text[self._start :],
            "tool_calls": [self._call(position, request) for position, request in enumerate(self._requests, 1)],
            "citations": run.citations[self._cited_before :],
            "finish_reason": finish.reason,
        }
        run.announce(journal.USAGE, step, **step.usage.as_json(), total=run.usage.as_json())

    def _call(self, position: int, request: ToolRequest) -> dict[str, Any]:
        arguments = _portable_arguments(request)
        # The provider's ids differ when a step is taken again; these are the run's own.
        return {
            "call_id": f"call_{self._step.step}_{position}",
            "name": portable_text(request.name),
            "arguments": arguments,
        }


def _portable_arguments(request: ToolRequest) -> dict[str, Any] | None:
    """Return the call's arguments; None when there are none that a tool can be given."""
    try:
        return None if request.arguments is None else cast("dict[str, Any]", portable(dict(request.arguments)))
    except NotPortable:
        return None


def asks_for_calls(step: Step) -> bool:
    """Whether the model wants something to be called before it goes on."""
    return bool(calls_of(step))
