"""The title of a conversation that nobody named."""

from hypothesis import given
from hypothesis import strategies as st

from conversation.domain.titles import MAX_CHARACTERS, from_first_message


class TestFromFirstMessage:
    def test_takes_a_short_message_whole(self) -> None:
        assert from_first_message("  What is\n a wing? ") == "What is a wing?"

    def test_cuts_a_long_one_between_words(self) -> None:
        assert from_first_message("word " * 30) == "word word word word word word word word word word word…"

    @given(st.text(max_size=300))
    def test_is_one_line_of_bounded_length(self, content: str) -> None:
        title = from_first_message(content)

        assert len(title) <= MAX_CHARACTERS
        assert len(title.splitlines()) <= 1
