"""Reading the index: what a search finds, in one statement a stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, REAL
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from kb import models
from kb.domain.bm25 import K1, B, Collection, TermStatistics, finding_terms, inverse_frequency
from kb.domain.fusion import Candidate, Mode
from kb.domain.ports import Vector

POSTINGS_BUDGET = 20_000
"""Up to so many postings all terms find candidates; above, the strongest do, and others re-score those."""

_HYBRID_DEPTH = 100
"""Candidates that each stage gives to a hybrid search."""

_COLLECTION = """
SELECT coalesce(sum(chunk_count), 0)::bigint, coalesce(sum(length_sum), 0)::bigint FROM lexical_statistics
WHERE organization_id = :organization AND knowledge_base_id = ANY(:bases)
"""

_TERM_STATISTICS = """
SELECT wanted.position, sum(postings.chunk_count)::bigint, max(greatest_frequency), min(least_length)
FROM unnest(CAST(:term_bases AS uuid[]), CAST(:terms AS text[]), CAST(:positions AS int[]))
     AS wanted(knowledge_base_id, term, position)
JOIN postings ON postings.organization_id = :organization
     AND postings.knowledge_base_id = wanted.knowledge_base_id AND postings.term = wanted.term
GROUP BY wanted.position
"""

# The statements join by index only, each look-up in a LATERAL of one row, and bring scores together by grouping: the
# planner cannot know how many rows an array unnests to, and joined candidates in nested loops that took ten times as
# long.
_SHARE = f"""
t.weight * b.frequency * {K1 + 1} / (b.frequency + {K1} * ({1 - B} + {B} * b.length / CAST(:mean_length AS float8)))
"""

# `finding` are the terms that make candidates, `rescoring` the others. A chunk found by a finding term is kept when the
# others could still lift it over the bar, the score of the last candidate wanted. `bar` comes back with every row: when
# it is below what the others can add, a chunk that only they find might be missing, and the caller asks again with all
# terms finding.
_FINDING = f"""
partial AS MATERIALIZED (
    SELECT p.document_id, b.ordinal, sum({_SHARE}) AS score
    FROM unnest(
        CAST(:finding_bases AS uuid[]), CAST(:finding_terms AS text[]), CAST(:finding_weights AS float8[])
    ) AS t(knowledge_base_id, term, weight)
    JOIN postings AS p ON p.organization_id = :organization
         AND p.knowledge_base_id = t.knowledge_base_id AND p.term = t.term,
         unnest(p.ordinals, p.frequencies, p.lengths) AS b(ordinal, frequency, length)
    GROUP BY p.document_id, b.ordinal
),
bar AS MATERIALIZED (
    SELECT coalesce((SELECT score FROM partial ORDER BY score DESC OFFSET :depth - 1 LIMIT 1), 0) AS score
),
kept AS MATERIALIZED (
    SELECT partial.document_id, partial.ordinal, partial.score FROM partial, bar
    WHERE partial.score + CAST(:rest AS float8) >= bar.score
)
"""  # noqa: S608 - put together from constants of this module

_NEAREST = """
nearest AS MATERIALIZED (
    SELECT document_id, ordinal FROM chunks
    WHERE organization_id = :organization AND knowledge_base_id = ANY(:bases)
    ORDER BY embedding <=> CAST(:vector AS real[])::halfvec, document_id, ordinal
    LIMIT :depth
)
"""

_NOTHING_NEAR = "nearest AS (SELECT NULL::uuid AS document_id, 0 AS ordinal WHERE false)"

# Whatever either stage found gets all of its score; `best` then cuts the lexical part to the depth.
_RESCORING = f"""
extra AS MATERIALIZED (
    SELECT f.document_id, f.ordinal, sum({_SHARE}) AS score
    FROM (SELECT document_id, ordinal FROM kept UNION SELECT document_id, ordinal FROM nearest) AS f,
         unnest(
             CAST(:rescoring_bases AS uuid[]), CAST(:rescoring_terms AS text[]), CAST(:rescoring_weights AS float8[])
         ) AS t(knowledge_base_id, term, weight),
         LATERAL (
             SELECT * FROM postings WHERE organization_id = :organization
             AND knowledge_base_id = t.knowledge_base_id AND term = t.term AND document_id = f.document_id
             LIMIT 1
         ) AS p,
         unnest(p.ordinals, p.frequencies, p.lengths) AS b(ordinal, frequency, length)
    WHERE b.ordinal = f.ordinal
    GROUP BY f.document_id, f.ordinal
),
scored AS (
    SELECT document_id, ordinal, bool_or(is_near) AS is_near, sum(score) AS score FROM (
        SELECT document_id, ordinal, false AS is_near, false AS is_kept, score FROM partial
        UNION ALL SELECT document_id, ordinal, false, true, 0 FROM kept
        UNION ALL SELECT document_id, ordinal, true, false, 0 FROM nearest
        UNION ALL SELECT document_id, ordinal, false, false, score FROM extra
    ) AS contributions
    GROUP BY document_id, ordinal
    HAVING bool_or(is_near OR is_kept)
),
best AS (
    SELECT document_id, ordinal, score FROM (
        SELECT *, row_number() OVER (ORDER BY score DESC, document_id, ordinal) AS place FROM scored
    ) AS ranked
    WHERE is_near OR (place <= :depth AND score > 0)
)
"""  # noqa: S608 - put together from constants of this module

_DISTANCE = "1 - (c.embedding <=> CAST(:vector AS real[])::halfvec)"


def _candidates(source: str, *, dense: str, lexical: str, bar: str) -> str:
    return f"""
SELECT c.id, c.document_id, c.ordinal, {dense} AS dense, {lexical} AS lexical, {bar} AS bar
FROM {source} AS found, LATERAL (
    SELECT * FROM chunks WHERE organization_id = :organization
    AND document_id = found.document_id AND ordinal = found.ordinal
    LIMIT 1
) AS c
"""  # noqa: S608 - put together from constants of this module


_NULL, _BAR = "CAST(NULL AS float8)", "(SELECT score FROM bar)"
_STATEMENTS = {
    Mode.DENSE: f"WITH {_NEAREST}" + _candidates("nearest", dense=_DISTANCE, lexical=_NULL, bar="0"),
    Mode.LEXICAL: f"WITH {_FINDING}, {_NOTHING_NEAR}, {_RESCORING}"
    + _candidates("best", dense=_NULL, lexical="found.score", bar=_BAR),
    Mode.HYBRID: f"WITH {_FINDING}, {_NEAREST}, {_RESCORING}"
    + _candidates("best", dense=_DISTANCE, lexical="found.score", bar=_BAR),
}


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A term of the query in one base: `position` is the same for the stems that languages make of one word."""

    knowledge_base_id: UUID
    term: str
    position: int
    frequency: int


@dataclass(frozen=True, slots=True)
class _WeightedTerms:
    """Terms split into those that find candidates and those that re-score, as parameters of the statements."""

    parameters: Mapping[str, object]
    rest: float


class SearchRepository:
    """Searches one organization's index. The bases must be known to exist."""

    def __init__(self, session: AsyncSession, organization_id: UUID, *, postings_budget: int = POSTINGS_BUDGET) -> None:
        self._session = session
        self._organization_id = organization_id
        self._postings_budget = postings_budget

    async def candidates(
        self, *, mode: Mode, bases: Sequence[UUID], terms: Sequence[QueryTerm], vector: Vector | None, top_k: int
    ) -> list[Candidate]:
        """Return what the stages of a mode find, each with the scores of all of them, in no order.

        A mode of one stage gives its `top_k` best; a hybrid one the union of the 100 best of each, or `top_k` if more.
        """
        shared = {
            "organization": self._organization_id,
            "bases": list(bases),
            "depth": max(top_k, _HYBRID_DEPTH) if mode is Mode.HYBRID else top_k,
            "vector": vector,
        }
        if mode is Mode.DENSE:
            return [_candidate(row) for row in await self._rows(mode, shared)]
        collection, statistics = await self._statistics(bases, terms)
        pruned = _weighted(terms, statistics, collection, budget=self._postings_budget)
        rows = await self._rows(mode, {**shared, **pruned.parameters})
        if pruned.rest and (not rows or rows[0].bar < pruned.rest):
            complete = _weighted(terms, statistics, collection, budget=None)
            rows = await self._rows(mode, {**shared, **complete.parameters})
        return [_candidate(row) for row in rows]

    async def hits(self, chunk_ids: Sequence[UUID]) -> dict[UUID, tuple[models.Chunk, str, int]]:
        """Return chunks by id, each with the title and version of its document."""
        chunk, document = models.Chunk, models.Document
        statement = (
            select(chunk, document.title, document.version)
            .join(
                document,
                (document.organization_id == chunk.organization_id) & (document.id == chunk.document_id),
            )
            .where(chunk.organization_id == self._organization_id, chunk.id.in_(chunk_ids))
            .options(defer(chunk.embedding))
        )
        return {row[0].id: (row[0], row[1], row[2]) for row in await self._session.execute(statement)}

    async def _statistics(
        self, bases: Sequence[UUID], terms: Sequence[QueryTerm]
    ) -> tuple[Collection, list[TermStatistics]]:
        counted = (await self._execute(_COLLECTION, {"bases": list(bases)}))[0]
        parameters = {
            "term_bases": [term.knowledge_base_id for term in terms],
            "terms": [term.term for term in terms],
            "positions": [term.position for term in terms],
        }
        frequency = {term.position: term.frequency for term in terms}
        rows = await self._execute(_TERM_STATISTICS, parameters) if terms else []
        statistics = [TermStatistics(row[0], frequency[row[0]], row[1], row[2], row[3]) for row in rows]
        return Collection(counted[0], counted[1]), statistics

    async def _rows(self, mode: Mode, parameters: Mapping[str, object]) -> Sequence[Any]:  # Any: rows of a text
        return await self._execute(_STATEMENTS[mode], parameters)

    async def _execute(self, statement: str, parameters: Mapping[str, object]) -> Sequence[Any]:
        prepared = text(statement)
        if ":bases" in statement:
            prepared = prepared.bindparams(bindparam("bases", type_=ARRAY(PG_UUID(as_uuid=True))))
        if ":vector" in statement:
            prepared = prepared.bindparams(bindparam("vector", type_=ARRAY(REAL)))
        values = {"organization": self._organization_id, **parameters}
        used = {name: value for name, value in values.items() if f":{name}" in statement}
        return (await self._session.execute(prepared, used)).all()


def _candidate(row: Any) -> Candidate:
    return Candidate(row.id, row.document_id, row.ordinal, dense=row.dense, lexical=row.lexical)


def _weighted(
    terms: Sequence[QueryTerm], statistics: Sequence[TermStatistics], collection: Collection, *, budget: int | None
) -> _WeightedTerms:
    """Give each term its weight, and split them; without a budget all terms find candidates."""
    weights = {
        found.position: found.query_frequency
        * inverse_frequency(chunk_count=collection.chunk_count, containing=found.chunk_count)
        for found in statistics
    }
    everything = list(weights)
    finding, rest = finding_terms(statistics, collection, postings_budget=budget) if budget else (everything, 0.0)
    known = [term for term in terms if term.position in weights]
    parameters: dict[str, object] = {"mean_length": collection.mean_length, "rest": rest}
    for name, chosen in (
        ("finding", [term for term in known if term.position in finding]),
        ("rescoring", [term for term in known if term.position not in finding]),
    ):
        parameters[f"{name}_bases"] = [term.knowledge_base_id for term in chosen]
        parameters[f"{name}_terms"] = [term.term for term in chosen]
        parameters[f"{name}_weights"] = [weights[term.position] for term in chosen]
    return _WeightedTerms(parameters, rest)
