"""Searching knowledge bases."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.data.unit_of_work import Acquire
from kb import models
from kb.domain import ids
from kb.domain.analysis import term_frequencies, words
from kb.domain.errors import EmbeddingModelMismatch, KnowledgeBaseNotFound
from kb.domain.fusion import Candidate, Mode, rank
from kb.domain.ports import Embedder
from kb.repositories.search import QueryTerm
from kb.unit_of_work import KbUnitOfWork


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for, where and how."""

    knowledge_base_ids: Sequence[UUID]
    text: str
    mode: Mode
    top_k: int
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found, with the scores that brought it there and the words of its text that match."""

    candidate: Candidate
    chunk: models.Chunk
    document_title: str
    document_version: int
    highlights: Sequence[tuple[int, int]]


class SearchKnowledgeBases:
    """Finds the chunks that match a query best."""

    def __init__(self, acquire: Acquire[KbUnitOfWork], embedder: Embedder) -> None:
        self._acquire = acquire
        self._embedder = embedder

    async def __call__(self, query: Query) -> list[Hit]:
        """Return the hits, best first. Raises KnowledgeBaseNotFound, EmbeddingModelMismatch, EmbeddingFailed."""
        vector = None if query.mode is Mode.LEXICAL else await self._embedder.embed_query(query.text)
        async with self._acquire() as work:
            bases = await self._bases(work, query)
            candidates = await work.search.candidates(
                mode=query.mode,
                bases=query.knowledge_base_ids,
                terms=_terms(query, bases),
                vector=vector,
                top_k=query.top_k,
            )
            best = rank(candidates, mode=query.mode, top_k=query.top_k, threshold=query.threshold)
            return await _hits(work, best, query, bases)

    async def _bases(self, work: KbUnitOfWork, query: Query) -> dict[UUID, models.KnowledgeBase]:
        bases = await work.knowledge_bases.among(query.knowledge_base_ids)
        for base_id in query.knowledge_base_ids:
            base = bases.get(base_id)
            if base is None:
                raise KnowledgeBaseNotFound(id=ids.KNOWLEDGE_BASE.show(base_id))
            if query.mode is not Mode.LEXICAL and base.embedding_model != self._embedder.model:
                raise EmbeddingModelMismatch(id=ids.KNOWLEDGE_BASE.show(base_id), model=base.embedding_model)
        return bases


def _terms(query: Query, bases: dict[UUID, models.KnowledgeBase]) -> list[QueryTerm]:
    """Return the query's terms in each base; equal positions are the same term, whatever the base."""
    if query.mode is Mode.DENSE:
        return []
    positions: dict[str, int] = {}
    terms = []
    for base in bases.values():
        for term, frequency in term_frequencies(query.text, language=base.language).items():
            position = positions.setdefault(term, len(positions))
            terms.append(QueryTerm(base.id, term, position, frequency))
    return terms


async def _hits(
    work: KbUnitOfWork, best: Sequence[Candidate], query: Query, bases: dict[UUID, models.KnowledgeBase]
) -> list[Hit]:
    found = await work.search.hits([candidate.chunk_id for candidate in best])
    hits = []
    for candidate in best:
        chunk, title, version = found[candidate.chunk_id]
        language = bases[chunk.knowledge_base_id].language
        marked = [] if query.mode is Mode.DENSE else _highlights(chunk.text, query.text, language)
        hits.append(Hit(candidate, chunk, title, version, marked))
    return hits


def _highlights(text: str, query: str, language: str) -> list[tuple[int, int]]:
    wanted = term_frequencies(query, language=language)
    return [(word.start, word.end) for word in words(text, language=language) if word.term in wanted]
