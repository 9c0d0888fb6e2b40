import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

import pytest

from agent.adapters.providers.offline import OfflineProvider, tokens_of
from agent.domain.errors import ProviderRefused, ProviderUnavailable
from agent.domain.passages import Passage
from agent.domain.provider import AssistantTurn, Finish, Piece, TextPiece, ToolRequest, ToolTurn, Turn

from .factories import a_request, passages  # noqa: TID252

SCRIPT = """```script
[{"tool": "calculator", "arguments": {"expression": "2+2"}}, {"say": "It is four."}]
```"""


async def answer(text: str, *, turns: Sequence[Turn] = (), found: Sequence[Passage] = ()) -> list[Piece]:
    return [piece async for piece in OfflineProvider().stream(a_request(text, turns=turns, found=found))]


def said(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))


class TestOfflineProvider:
    async def test_quotes_word_for_word_with_the_number_of_the_passage(self) -> None:
        found = passages("Ducks swim.", "Emperor penguins huddle to keep warm. They are tall.")

        text = said(await answer("Why do penguins huddle?", found=found))

        assert "“Emperor penguins huddle to keep warm.” [2]" in text
        assert "[1]" not in text

    async def test_says_what_it_is(self) -> None:
        assert "offline model" in said(await answer("Hello"))

    async def test_answers_the_same_each_time(self) -> None:
        found = passages("Penguins huddle. Penguins swim. Penguins dive. Penguins eat.")

        assert await answer("penguins", found=found) == await answer("penguins", found=found)

    async def test_streams_a_word_at_a_time_and_finishes_with_counts(self) -> None:
        pieces = await answer("Hello there")

        words = [piece for piece in pieces if isinstance(piece, TextPiece)]
        assert len(words) > 10
        assert pieces[-1] == Finish(input_tokens=2, output_tokens=len(words), reason="stop")

    async def test_follows_a_script_turn_by_turn(self) -> None:
        first = await answer(SCRIPT)
        call = ToolRequest(name="calculator", arguments={"expression": "2+2"})
        turns: list[Turn] = [AssistantTurn(text=""), ToolTurn(call_id="call_1_1", name="calculator", text="4")]

        assert (first[0], said(first)) == (call, "")
        assert said(await answer(SCRIPT, turns=turns)) == "It is four."

    async def test_tells_what_tools_returned_when_the_script_has_ended(self) -> None:
        turns: list[Turn] = [AssistantTurn(text=""), ToolTurn(call_id="call_1_1", name="calculator", text="4")]

        assert "calculator returned: 4" in said(await answer('/tool calculator {"expression": "2+2"}', turns=turns))

    async def test_fails_when_the_script_says_so(self) -> None:
        with pytest.raises(ProviderUnavailable):
            await answer('```script\n[{"fail": "unavailable"}]\n```')
        with pytest.raises(ProviderRefused):
            await answer('```script\n[{"fail": "refused"}]\n```')

    async def test_pauses_before_each_word_and_can_be_closed_in_the_middle(self) -> None:
        stream = OfflineProvider(token_delay=timedelta(seconds=5)).stream(a_request("Hello"))
        begun = time.monotonic()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.05)
        await stream.aclose()

        assert time.monotonic() - begun < 1

    def test_cuts_text_without_losing_any(self) -> None:
        text = "  Two words,\n\nand a tail  \n"

        assert "".join(tokens_of(text)) == text
