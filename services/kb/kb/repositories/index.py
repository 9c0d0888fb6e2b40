"""Writing the index: chunks with their vectors, postings, and the statistics of a base."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from kb.domain.chunking import Chunk
from kb.domain.ports import Vector
from kb.domain.postings import Posting

_INSERT_CHUNK = """
INSERT INTO chunks (organization_id, id, knowledge_base_id, document_id, ordinal, start_offset, end_offset, page,
                    heading_path, text, token_count, length, embedding)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::real[]::halfvec)
"""
_INSERT_POSTING = """
INSERT INTO postings (organization_id, knowledge_base_id, document_id, term, chunk_count, greatest_frequency,
                      least_length, ordinals, frequencies, lengths)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
_INSERT_TEXT = """
INSERT INTO document_texts (organization_id, document_id, text, terms) VALUES (:organization, :document, :text, :terms)
"""
_ADD_STATISTICS = """
INSERT INTO lexical_statistics AS known (organization_id, knowledge_base_id, chunk_count, length_sum)
VALUES (:organization, :base, :chunks, :length)
ON CONFLICT (organization_id, knowledge_base_id) DO UPDATE
SET chunk_count = known.chunk_count + excluded.chunk_count, length_sum = known.length_sum + excluded.length_sum
"""
_REMOVE_POSTINGS = """
DELETE FROM postings USING document_texts AS stored
WHERE stored.organization_id = :organization AND stored.document_id = :document
  AND postings.organization_id = :organization AND postings.knowledge_base_id = :base
  AND postings.term = ANY(stored.terms) AND postings.document_id = :document
"""
_REMOVE_CHUNKS = """
WITH removed AS (
    DELETE FROM chunks WHERE organization_id = :organization AND document_id = :document RETURNING length
)
SELECT count(*), coalesce(sum(length), 0) FROM removed
"""
_REMOVE_TEXT = "DELETE FROM document_texts WHERE organization_id = :organization AND document_id = :document"
_REMOVE_ALL_POSTINGS = "DELETE FROM postings WHERE organization_id = :organization AND knowledge_base_id = :base"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A chunk as the index keeps it: with its id, its length in terms, and its vector."""

    id: UUID
    chunk: Chunk
    length: int
    vector: Vector


class IndexRepository:
    """The index of one organization's documents.

    Both methods want the document's row locked; what they change for one document is all or nothing with the
    transaction, so a repeated ingest replaces and never adds.
    """

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(
        self,
        *,
        knowledge_base_id: UUID,
        document_id: UUID,
        text: str,
        entries: Sequence[IndexEntry],
        postings: Sequence[Posting],
    ) -> None:
        """Index a document that has nothing in the index."""
        await self._execute(_INSERT_TEXT, document=document_id, text=text, terms=[posting.term for posting in postings])
        key = (self._organization_id, knowledge_base_id, document_id)
        await self._insert(_INSERT_CHUNK, [_chunk_row(key, entry) for entry in entries])
        await self._insert(_INSERT_POSTING, [_posting_row(key, posting) for posting in postings])
        await self._count(knowledge_base_id, chunks=len(entries), length=sum(entry.length for entry in entries))

    async def remove(self, *, knowledge_base_id: UUID, document_id: UUID) -> None:
        """Take a document out of the index; without effect when it is not in it."""
        await self._execute(_REMOVE_POSTINGS, document=document_id, base=knowledge_base_id)
        await self._execute(_REMOVE_TEXT, document=document_id)
        removed = (await self._execute(_REMOVE_CHUNKS, document=document_id)).one()
        if removed[0]:
            await self._count(knowledge_base_id, chunks=-int(removed[0]), length=-int(removed[1]))

    async def remove_all(self, *, knowledge_base_id: UUID) -> None:
        """Take out what is left of a base without documents."""
        await self._execute(_REMOVE_ALL_POSTINGS, base=knowledge_base_id)

    async def _count(self, knowledge_base_id: UUID, *, chunks: int, length: int) -> None:
        # Last in its transaction: the row is one for the whole base, and whoever holds it lets others wait.
        await self._execute(_ADD_STATISTICS, base=knowledge_base_id, chunks=chunks, length=length)

    async def _execute(self, statement: str, **parameters: Any) -> Any:  # Any: values of columns; a result of any rows
        return await self._session.execute(text(statement), {"organization": self._organization_id, **parameters})

    async def _insert(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        # Straight to the driver, which sends binary rows in one pipeline. COPY would be a third faster still, but
        # Postgres does not copy into tables with row-level security.
        connection = await (await self._session.connection()).get_raw_connection()
        driver: Any = connection.driver_connection  # Any: SQLAlchemy does not know whose driver it is
        await driver.executemany(statement, rows)


def _chunk_row(key: tuple[UUID, UUID, UUID], entry: IndexEntry) -> tuple[object, ...]:
    organization_id, knowledge_base_id, document_id = key
    chunk = entry.chunk
    return (
        *(organization_id, entry.id, knowledge_base_id, document_id),
        *(chunk.ordinal, chunk.start, chunk.end, chunk.page, list(chunk.heading_path), chunk.text),
        *(chunk.token_count, entry.length, entry.vector),
    )


def _posting_row(key: tuple[UUID, UUID, UUID], posting: Posting) -> tuple[object, ...]:
    return (
        *(*key, posting.term, len(posting.ordinals), max(posting.frequencies), min(posting.lengths)),
        *(posting.ordinals, posting.frequencies, posting.lengths),
    )
