import itertools

from hypothesis import given
from hypothesis import strategies as st

from agent.domain.citations import CitationMark, CitationScanner
from agent.domain.passages import PassageBook

from .factories import a_hit  # noqa: TID252

ANSWER = "Penguins huddle [1]. Ducks do not [2, 3], see [9] and [x]. Lists[0] end [1][2]."


def book(count: int = 3) -> PassageBook:
    passages = PassageBook()
    passages.add(a_hit(f"text {number}", document=f"doc_{number}") for number in range(count))
    return passages


def scan(pieces: list[str], *, offset: int = 0) -> list[CitationMark]:
    scanner = CitationScanner(book(), offset=offset)
    return [mark for piece in pieces for mark in scanner.feed(piece)]


class TestCitationScanner:
    def test_finds_the_numbers_that_passages_have(self) -> None:
        assert [mark.passage.index for mark in scan([ANSWER])] == [1, 2, 3, 1, 2]

    def test_points_at_the_mark_in_the_answer(self) -> None:
        assert [ANSWER[mark.start : mark.end] for mark in scan([ANSWER])] == ["[1]", "[2, 3]", "[2, 3]", "[1]", "[2]"]

    def test_counts_from_where_the_answer_had_got(self) -> None:
        assert scan(["see [1]"], offset=100)[0].start == 104

    @given(st.lists(st.integers(0, len(ANSWER)), max_size=30))
    def test_finds_the_same_however_the_text_is_cut(self, cuts: list[int]) -> None:
        edges = [0, *sorted(cuts), len(ANSWER)]
        pieces = [ANSWER[start:end] for start, end in itertools.pairwise(edges)]

        assert scan(pieces) == scan([ANSWER])

    def test_waits_no_longer_than_a_mark_can_be(self) -> None:
        assert [mark.passage.index for mark in scan(["[" + "1" * 90, "] but [2]"])] == [2]

    def test_says_where_the_passage_stands_in_its_document(self) -> None:
        cited = scan(["[2]"])[0].as_json()

        assert (cited["document_id"], cited["text"], cited["end"] - cited["start"]) == ("doc_1", "text 1", 6)


class TestPassageBook:
    def test_keeps_the_number_of_a_passage_that_is_found_again(self) -> None:
        passages = PassageBook()
        passages.add([a_hit(document="doc_a"), a_hit(document="doc_b")])

        again = passages.add([a_hit(document="doc_b"), a_hit(document="doc_c")])

        assert [passage.index for passage in again] == [2, 3]
