"""How much of a conversation the agent is given."""

from hypothesis import given
from hypothesis import strategies as st

from conversation.domain.history import HistoryLimits, Turn, trim

ROOMY = HistoryLimits(messages=100, characters=10_000)


def turns(*texts: str) -> list[Turn]:
    """Return turns that begin with a person's and alternate."""
    return [Turn(("user", "assistant")[index % 2], text) for index, text in enumerate(texts)]


class TestTrim:
    def test_keeps_all_within_the_limits(self) -> None:
        assert trim(turns("a", "b", "c", "d"), ROOMY) == turns("a", "b", "c", "d")

    def test_drops_the_oldest_first(self) -> None:
        assert trim(turns("a", "b", "c", "d"), HistoryLimits(messages=2, characters=100)) == [
            Turn("user", "c"),
            Turn("assistant", "d"),
        ]

    def test_begins_with_a_persons_turn(self) -> None:
        assert trim(turns("a", "b", "c"), HistoryLimits(messages=2, characters=100)) == [Turn("user", "c")]

    def test_gives_nothing_for_no_messages(self) -> None:
        assert trim(turns("a", "b"), HistoryLimits(messages=0, characters=100)) == []

    @given(st.lists(st.text(max_size=20)), st.integers(0, 12), st.integers(0, 60))
    def test_stays_within_both_limits_and_in_order(self, texts: list[str], messages: int, characters: int) -> None:
        given_turns = turns(*texts)
        kept = trim(given_turns, HistoryLimits(messages=messages, characters=characters))

        assert len(kept) <= messages
        assert sum(len(turn.text) for turn in kept) <= characters
        assert kept == given_turns[len(given_turns) - len(kept) :]
        assert not kept or kept[0].role == "user"
