"""Mixing what the two stages of a hybrid search found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

DENSE_WEIGHT = 0.7
"""Share of the dense score in a hybrid one. On Cranfield 0.7 and 0.6 are equal, 0.5 and 0.8 a point worse."""


class Mode(StrEnum):
    """How a search ranks."""

    DENSE = "dense"
    LEXICAL = "lexical"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that a stage found, with its score in both.

    `dense` is a cosine in [-1, 1], `lexical` a BM25 score from 0 up; `score` is what hits are ordered by.
    """

    chunk_id: UUID
    document_id: UUID
    ordinal: int
    dense: float | None = None
    lexical: float | None = None
    score: float = 0.0


def rank(candidates: Sequence[Candidate], *, mode: Mode, top_k: int, threshold: float | None) -> list[Candidate]:
    """Return the best candidates with their `score`, best first; equal ones by document and position."""
    scored = _scored(candidates, mode)
    kept = [candidate for candidate in scored if threshold is None or candidate.score >= threshold]
    kept.sort(key=lambda candidate: (-candidate.score, candidate.document_id, candidate.ordinal))
    return kept[:top_k]


def _scored(candidates: Sequence[Candidate], mode: Mode) -> list[Candidate]:
    match mode:
        case Mode.DENSE:
            return [replace(candidate, score=candidate.dense or 0.0) for candidate in candidates]
        case Mode.LEXICAL:
            return [replace(candidate, score=candidate.lexical or 0.0) for candidate in candidates]
        case Mode.HYBRID:
            return _mixed(candidates)


def _mixed(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Score candidates by the convex mix of both stages, each stretched to [0, 1] over the candidates.

    Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval" (2023), who find it more robust than
    fusing ranks.
    """
    dense = _stretched([candidate.dense or 0.0 for candidate in candidates])
    lexical = _stretched([candidate.lexical or 0.0 for candidate in candidates])
    return [
        replace(candidate, score=DENSE_WEIGHT * by_meaning + (1 - DENSE_WEIGHT) * by_words)
        for candidate, by_meaning, by_words in zip(candidates, dense, lexical, strict=True)
    ]


def _stretched(values: Sequence[float]) -> list[float]:
    """Map the least value to 0 and the greatest to 1; when all are equal, to 1 if they found anything and 0 if not."""
    if not values:
        return []
    least, greatest = min(values), max(values)
    if greatest == least:
        return [float(greatest > 0)] * len(values)
    return [(value - least) / (greatest - least) for value in values]
