"""BM25: the formula, and when pruning is allowed."""

import math
import random

import pytest

from kb.domain.bm25 import (
    Collection,
    TermStatistics,
    finding_terms,
    inverse_frequency,
    saturation,
    upper_bound,
)


class TestFormula:
    def test_equals_the_published_one(self) -> None:
        # N = 10, n = 3, f = 2, |D| = 6, avgdl = 4, k1 = 1.2, b = 0.75, by hand.
        assert inverse_frequency(chunk_count=10, containing=3) == pytest.approx(math.log(1 + 7.5 / 3.5))
        by_hand = 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 1.5))
        assert saturation(frequency=2, length=6, mean_length=4) == pytest.approx(by_hand)

    def test_never_takes_away(self) -> None:
        assert inverse_frequency(chunk_count=10, containing=10) > 0

    def test_is_bounded_by_the_strongest_posting(self) -> None:
        chance = random.Random(7)
        collection = Collection(chunk_count=100, length_sum=5_000)
        postings = [(chance.randint(1, 9), chance.randint(5, 90)) for _ in range(50)]
        term = TermStatistics(0, 1, 50, max(f for f, _ in postings), min(length for _, length in postings))

        weight = inverse_frequency(chunk_count=100, containing=50)
        scores = [
            weight * saturation(frequency=frequency, length=length, mean_length=collection.mean_length)
            for frequency, length in postings
        ]

        assert max(scores) <= upper_bound(term, collection)

    def test_an_empty_collection_divides_by_nothing(self) -> None:
        assert Collection(0, 0).mean_length == 1.0


class TestFindingTerms:
    rare = TermStatistics(position=0, query_frequency=1, chunk_count=10, greatest_frequency=3, least_length=10)
    common = TermStatistics(position=1, query_frequency=1, chunk_count=90_000, greatest_frequency=3, least_length=10)
    collection = Collection(chunk_count=100_000, length_sum=10_000_000)

    def test_lets_all_terms_find_while_they_are_few(self) -> None:
        finding, rest = finding_terms([self.common, self.rare], self.collection, postings_budget=100_000)

        assert sorted(finding) == [0, 1]
        assert rest == 0

    def test_lets_common_terms_only_rescore_when_they_are_many(self) -> None:
        finding, rest = finding_terms([self.common, self.rare], self.collection, postings_budget=1_000)

        assert finding == [0]
        assert rest == upper_bound(self.common, self.collection)

    def test_always_lets_one_term_find(self) -> None:
        finding, rest = finding_terms([self.common], self.collection, postings_budget=1)

        assert (finding, rest) == ([1], 0)

    def test_asks_nothing_of_no_terms(self) -> None:
        assert finding_terms([], self.collection, postings_budget=1) == ([], 0)
