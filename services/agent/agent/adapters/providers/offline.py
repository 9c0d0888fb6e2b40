"""The built-in model: no language model, but a picker of sentences that says so, and a follower of scripts."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import timedelta
from functools import lru_cache

import snowballstemmer

from agent.domain.errors import ProviderRefused, ProviderUnavailable
from agent.domain.passages import Passage
from agent.domain.provider import (
    AssistantTurn,
    Finish,
    ModelRequest,
    Piece,
    TextPiece,
    ToolTurn,
    Turn,
    UserTurn,
)
from agent.domain.quoting import pick_quotes
from agent.domain.script import Script, read_script, without_script
from agent.domain.script import Turn as ScriptTurn

_TOKEN = re.compile(r"\s*\S+\s*$|\s*\S+|\s+")
_QUOTES = 3
_LONGEST_RESULT = 2000

_stemmer = snowballstemmer.stemmer("english")


@lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    return str(_stemmer.stemWord(word))


class OfflineProvider:
    """Answers without any model: quotes the sentences that fit best, deterministically, a token at a time.

    It needs no network and no key. What a script in the user's last message asks for it does first; see README.md.
    """

    def __init__(self, *, token_delay: timedelta = timedelta(0)) -> None:
        self._token_delay = token_delay

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        question, since = _last_question(request.turns)
        script = read_script(question) or Script()
        asked_before = sum(isinstance(turn, AssistantTurn) for turn in since)
        turn = script.turns[asked_before] if asked_before < len(script.turns) else None
        text = script.problem or _text(turn, question=question, since=since, passages=request.passages)
        spoken = 0
        if turn is None or not turn.calls:
            async for token in self._speak(text, script):
                spoken += 1
                yield TextPiece(text=token)
        if turn is not None:
            _fail_when_told(turn)
            for call in turn.calls:
                yield call
        calls = len(turn.calls) if turn else 0
        yield Finish(
            input_tokens=_count(request),
            output_tokens=spoken + calls,
            reason="tool_calls" if calls else "stop",
        )

    async def _speak(self, text: str, script: Script) -> AsyncGenerator[str, None]:
        delay = (self._token_delay if script.delay is None else script.delay).total_seconds()
        for token in tokens_of(text):
            if delay:
                await asyncio.sleep(delay)
            yield token


def tokens_of(text: str) -> Iterator[str]:
    """Cut a text into words with the white space before them; joined they are the text."""
    return (match.group() for match in _TOKEN.finditer(text))


def _last_question(turns: Sequence[Turn]) -> tuple[str, Sequence[Turn]]:
    """Return the user's last message and the turns after it."""
    for position in range(len(turns) - 1, -1, -1):
        turn = turns[position]
        if isinstance(turn, UserTurn):
            return turn.text, turns[position + 1 :]
    return "", turns


def _fail_when_told(turn: ScriptTurn) -> None:
    if turn.fail == "unavailable":
        raise ProviderUnavailable
    if turn.fail:
        raise ProviderRefused


def _text(turn: ScriptTurn | None, *, question: str, since: Sequence[Turn], passages: Sequence[Passage]) -> str:
    if turn is not None:
        return turn.say
    results = [turn for turn in since if isinstance(turn, ToolTurn)]
    return _answer(without_script(question), results=results, passages=passages)


def _answer(question: str, *, results: Sequence[ToolTurn], passages: Sequence[Passage]) -> str:
    """Compose the answer: what the tools gave back, then quotes with the numbers of their passages."""
    parts = [f"{result.name} returned: {result.text[:_LONGEST_RESULT]}" for result in results if not _is_search(result)]
    quotes = pick_quotes(question, passages, count=_QUOTES, stem=_stem)
    if quotes:
        parts.append(
            "The passages that fit the question best, quoted by the offline model, which writes no answers of its own:"
        )
        parts.extend(f"“{quote.text}” [{quote.index}]" for quote in quotes)
    elif passages:
        parts.append(
            "No passage of the knowledge bases has words of the question, so the offline model has nothing to quote."
        )
    elif not parts:
        parts.append(
            "This is the offline model: it quotes passages of knowledge bases, and calls tools when a script says so. "
            "It was given no passages. Configure a provider for written answers."
        )
    return "\n\n".join(parts)


def _is_search(result: ToolTurn) -> bool:
    return result.name == "knowledge_search" and not result.is_error


def _count(request: ModelRequest) -> int:
    """Estimate the input's tokens: a token for each word."""
    said = (turn.text for turn in request.turns)
    return len(request.system.split()) + sum(len(text.split()) for text in said)
