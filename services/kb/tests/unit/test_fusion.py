"""Ranking what the stages found."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from kb.domain.fusion import DENSE_WEIGHT, Candidate, Mode, rank


def a_candidate(number: int, dense: float | None = None, lexical: float | None = None) -> Candidate:
    return Candidate(UUID(int=number), UUID(int=number), 0, dense=dense, lexical=lexical)


def order(candidates: Sequence[Candidate], mode: Mode, threshold: float | None = None) -> list[int]:
    ranked = rank(candidates, mode=mode, top_k=10, threshold=threshold)
    return [candidate.chunk_id.int for candidate in ranked]


class TestRank:
    found = (a_candidate(1, 0.9, 0.0), a_candidate(2, 0.5, 8.0), a_candidate(3, 0.1, 9.0))

    def test_by_meaning(self) -> None:
        assert order(self.found, Mode.DENSE) == [1, 2, 3]

    def test_by_words(self) -> None:
        assert order(self.found, Mode.LEXICAL) == [3, 2, 1]

    def test_by_both(self) -> None:
        ranked = rank(self.found, mode=Mode.HYBRID, top_k=10, threshold=None)

        scores = {candidate.chunk_id.int: candidate.score for candidate in ranked}
        assert scores[1] == pytest.approx(DENSE_WEIGHT)
        assert scores[2] == pytest.approx(DENSE_WEIGHT * 0.5 + (1 - DENSE_WEIGHT) * 8 / 9)
        assert scores[3] == pytest.approx(1 - DENSE_WEIGHT)

    def test_cuts_at_the_threshold(self) -> None:
        assert order(self.found, Mode.DENSE, threshold=0.5) == [1, 2]

    def test_keeps_the_best(self) -> None:
        assert [one.chunk_id.int for one in rank(self.found, mode=Mode.DENSE, top_k=2, threshold=None)] == [1, 2]

    def test_orders_equal_ones_by_document_and_position(self) -> None:
        assert order([a_candidate(2, 0.5), a_candidate(1, 0.5)], Mode.DENSE) == [1, 2]

    def test_a_lone_hit_scores_full(self) -> None:
        (only,) = rank([a_candidate(1, 0.4, 2.0)], mode=Mode.HYBRID, top_k=1, threshold=None)

        assert only.score == pytest.approx(1.0)

    def test_words_that_nothing_has_add_nothing(self) -> None:
        found = [a_candidate(1, 0.9, 0.0), a_candidate(2, 0.1, 0.0)]

        assert [one.score for one in rank(found, mode=Mode.HYBRID, top_k=2, threshold=None)] == [DENSE_WEIGHT, 0]

    def test_ranks_nothing(self) -> None:
        assert order([], Mode.HYBRID) == []
