"""What is indexed of a chunk."""

from kb.domain.chunking import Chunk
from kb.domain.postings import passage, postings_of


def a_chunk(text: str) -> Chunk:
    return Chunk(0, 0, len(text), text, 1, 0, ())


class TestPassage:
    def test_puts_the_title_above(self) -> None:
        assert passage(a_chunk("They wait."), title="Herons") == "Herons\nThey wait."

    def test_does_not_say_the_title_twice(self) -> None:
        assert passage(a_chunk("# HERONS\nThey wait."), title="Herons") == "# HERONS\nThey wait."


class TestPostings:
    def test_hold_each_chunk_of_a_term_with_its_length(self) -> None:
        postings, lengths = postings_of(["heron heron fish", "owl heron"], language="en")

        assert lengths == [3, 2]
        by_term = {posting.term: posting for posting in postings}
        assert list(by_term) == ["fish", "heron", "owl"]
        heron = by_term["heron"]
        assert (heron.ordinals, heron.frequencies, heron.lengths) == ([0, 1], [2, 1], [3, 2])
