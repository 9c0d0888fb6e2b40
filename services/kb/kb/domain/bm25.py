"""BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009), and when to prune.

The database adds up the scores (see `repositories/lexical_index.py`); here are its constants, and the choice of which
terms find candidates and which only re-score them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

K1 = 1.2
B = 0.75


@dataclass(frozen=True, slots=True)
class Collection:
    """The chunks searched: how many, and the sum of their lengths in terms."""

    chunk_count: int
    length_sum: int

    @property
    def mean_length(self) -> float:
        """Terms a chunk in the mean; 1 in an empty collection, so that nothing divides by zero."""
        return self.length_sum / self.chunk_count if self.length_sum else 1.0


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """A query term in the collection: in how many chunks, how often at the most in one, the shortest chunk with it."""

    position: int
    query_frequency: int
    chunk_count: int
    greatest_frequency: int
    least_length: int


def inverse_frequency(*, chunk_count: int, containing: int) -> float:
    """Return the weight of a term that `containing` of `chunk_count` chunks hold; never negative."""
    return math.log(1 + (chunk_count - containing + 0.5) / (containing + 0.5))


def saturation(*, frequency: int, length: int, mean_length: float) -> float:
    """Return the share of a term's weight that a chunk gets, in [0, K1 + 1)."""
    return frequency * (K1 + 1) / (frequency + K1 * (1 - B + B * length / mean_length))


def upper_bound(term: TermStatistics, collection: Collection) -> float:
    """Return a score that no chunk gets more of from this term."""
    weight = inverse_frequency(chunk_count=collection.chunk_count, containing=term.chunk_count)
    share = saturation(frequency=term.greatest_frequency, length=term.least_length, mean_length=collection.mean_length)
    return term.query_frequency * weight * share


def finding_terms(
    terms: Sequence[TermStatistics], collection: Collection, *, postings_budget: int
) -> tuple[list[int], float]:
    """Choose the terms that find candidates: the strongest ones, while their postings fit the budget; one at the least.

    Returns their positions, and the most that all other terms together can add to a chunk. When the last candidate
    wanted scores at least that much by the finding terms alone, no chunk that they miss belongs among the wanted.
    """
    strongest_first = sorted(terms, key=lambda term: -upper_bound(term, collection))
    finding: list[int] = []
    spent, rest = 0, 0.0
    for term in strongest_first:
        if finding and (rest or spent + term.chunk_count > postings_budget):
            rest += upper_bound(term, collection)
            continue
        finding.append(term.position)
        spent += term.chunk_count
    return finding, rest
