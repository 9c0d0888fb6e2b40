"""Chunks: exact spans, whatever the text."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.domain.chunking import Chunking, split
from kb.domain.errors import ChunkOverlapTooLarge
from kb.domain.parsed import Heading, ParsedText


def words_of(text: str) -> list[tuple[int, int]]:
    """A token a word: enough to know what is where."""
    return [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]


def cut(text: str, *, size: int = 32, overlap: int = 8, **landmarks: object) -> list[str]:
    parsed = ParsedText(text, **landmarks)  # type: ignore[arg-type]  # landmarks of a test
    return [chunk.text for chunk in split(parsed, tokens=words_of(text), chunking=Chunking(size, overlap))]


TEXTS = st.lists(st.sampled_from(["heron", "fish.", "Ünï", "🦩", "中文。", "\n\n", " ", "!", "a b c. "]), max_size=300)


class TestSplit:
    @given(pieces=TEXTS, size=st.integers(2, 40), share=st.integers(0, 50))
    def test_gives_exact_spans_that_cover_every_token(self, pieces: list[str], size: int, share: int) -> None:
        text = " ".join(pieces)
        tokens = words_of(text)
        overlap = size * share // 100

        chunks = split(ParsedText(text), tokens=tokens, chunking=Chunking(size, overlap))

        assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
        assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
        assert all(0 < chunk.token_count <= size for chunk in chunks)
        covered = {token for chunk in chunks for token in tokens if chunk.start <= token[0] and token[1] <= chunk.end}
        assert covered == set(tokens)
        for before, after in pairwise(chunks):
            shared = [token for token in tokens if after.start <= token[0] and token[1] <= before.end]
            assert len(shared) <= overlap
            assert before.start < after.start
            assert before.end < after.end

    def test_leaves_a_short_text_whole(self) -> None:
        assert cut("Herons wait.") == ["Herons wait."]

    def test_finds_nothing_in_nothing(self) -> None:
        assert cut(" \n ") == []

    def test_ends_at_a_sentence_rather_than_in_it(self) -> None:
        text = "one two three four five six seven. eight nine ten eleven"

        assert cut(text, size=10, overlap=0) == ["one two three four five six seven.", "eight nine ten eleven"]

    def test_ends_at_a_paragraph_rather_than_at_a_sentence(self) -> None:
        text = "one two three four five six\n\nseven eight. nine ten eleven"

        assert cut(text, size=10, overlap=0)[0] == "one two three four five six"

    def test_ends_before_a_heading_and_does_not_overlap_it(self) -> None:
        text = "one two three four five six. seven\n\nHeading eight. nine ten eleven twelve"
        headings = [Heading(text.index("Heading"), 1, "Heading")]

        assert cut(text, size=10, overlap=5, headings=headings)[1].startswith("Heading eight.")

    def test_cuts_where_it_must_when_nothing_pauses(self) -> None:
        assert cut("a " * 25, size=10, overlap=0) == ["a a a a a a a a a a"] * 2 + ["a a a a a"]

    def test_knows_page_and_headings_of_the_beginning(self) -> None:
        text = "Birds have feathers. Herons wait for fish. Owls hunt"
        headings = [Heading(0, 1, "Birds"), Heading(text.index("Herons"), 2, "Herons"), Heading(43, 1, "Owls")]
        parsed = ParsedText(text, page_starts=[0, text.index("Herons")], headings=headings)

        chunks = split(parsed, tokens=words_of(text), chunking=Chunking(4, 0))

        assert [(chunk.page, chunk.heading_path) for chunk in chunks] == [
            (1, ("Birds",)),
            (2, ("Birds", "Herons")),
            (2, ("Owls",)),
        ]

    def test_refuses_an_overlap_of_more_than_half(self) -> None:
        with pytest.raises(ChunkOverlapTooLarge):
            Chunking(32, 17)


class TestParsedText:
    def test_has_no_page_without_pages(self) -> None:
        assert ParsedText("x").page_at(0) == 0

    def test_closes_headings_of_the_same_level(self) -> None:
        headings = [Heading(0, 1, "A"), Heading(5, 3, "B"), Heading(9, 2, "C"), Heading(12, 1, "D")]

        paths = ParsedText("x" * 20, headings=headings).heading_paths()

        assert [path for _, path in paths] == [("A",), ("A", "B"), ("A", "C"), ("D",)]
