"""From stored bytes to a searchable document: read back, parse, cut, embed, index.

Every attempt begins at the beginning and replaces what an earlier one left, in one transaction that holds the job's
fence and the document's row: a crash at any line leaves either the document as it was or the whole index entry.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol
from uuid import UUID

from chassis.data.unit_of_work import Acquire
from chassis.ids import new_id
from chassis.rpc.caller import Actor
from chassis.storage import Storage
from definable.kb.v1.events_pb2 import DocumentIndexed, EmbeddingUsageRecorded
from kb import models
from kb.application import documents
from kb.domain import ids
from kb.domain.chunking import Chunk, Chunking, split
from kb.domain.errors import (
    DocumentNotFound,
    DocumentUnusable,
    EmbeddingModelMismatch,
    EmptyDocument,
    StoredBytesDiffer,
)
from kb.domain.media_types import TEXT
from kb.domain.parsed import ParsedText
from kb.domain.ports import Embedder, Parser, Tokenizer, Vector
from kb.domain.postings import Posting, passage, postings_of
from kb.repositories.index import IndexEntry
from kb.unit_of_work import KbUnitOfWork

ACTOR = Actor.service("kb")
"""An accepted document is ingested by the service itself: its ingest does not die with its uploader."""

_EMBED_AT_ONCE = 16
_QUICK_BYTES = 64 * 1024
# An ingest quicker than this shows no states in between; a row and an event for each would cost more than the work.
_QUIET_SECONDS = 0.5
_PERCENT_PARSED = 10
_PERCENT_EMBEDDED = 95


class Attempt(Protocol):
    """What an ingest wants of the job that runs it."""

    @property
    def organization_id(self) -> UUID: ...

    async def fence(self, work: KbUnitOfWork) -> None:
        """Hold the job until the unit ends, or raise when another worker has it."""

    async def progress(self, done: int, total: int = 0, note: str = "") -> None:
        """Say how far it is; raises when the job was cancelled or lost."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What is to be ingested, as it was when the attempt began."""

    document_id: UUID
    knowledge_base_id: UUID
    title: str
    object_key: str
    sha256: str
    media_type: str
    chunking: Chunking
    language: str


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document as the index wants it, but for the vectors."""

    parsed: ParsedText
    chunks: Sequence[Chunk]
    passages: Sequence[str]
    postings: Sequence[Posting]
    lengths: Sequence[int]


class IngestDocument:
    """Ingests one document."""

    def __init__(
        self,
        acquire: Acquire[KbUnitOfWork],
        storage: Storage,
        *,
        parser: Parser,
        tokenizer: Tokenizer,
        embedder: Embedder,
    ) -> None:
        self._acquire = acquire
        self._storage = storage
        self._parser = parser
        self._tokenizer = tokenizer
        self._embedder = embedder

    async def __call__(self, attempt: Attempt, document_id: UUID) -> None:
        """Bring a document to READY; without effect when it is gone or was brought there before.

        Raises DocumentUnusable when no attempt will do better, other errors when another may.
        """
        source = await self._begin(attempt, document_id)
        if source is None:
            return
        states = _States(self._acquire, attempt, document_id)
        parsed = await self._parse(source)
        await states.enter("CHUNKING", percent=_PERCENT_PARSED)
        prepared = await asyncio.to_thread(_prepare, parsed, source, self._tokenizer)
        if not prepared.chunks:
            raise EmptyDocument
        vectors = await self._embed(prepared.passages, states)
        await self._index(attempt, source, prepared, vectors)

    async def _begin(self, attempt: Attempt, document_id: UUID) -> _Source | None:
        async with self._acquire.as_organization(attempt.organization_id, ACTOR) as work:
            await attempt.fence(work)
            document = await work.documents.locked(document_id)
            if document is None or document.state in ("READY", "FAILED"):
                return None
            base = await work.knowledge_bases.get(document.knowledge_base_id)
            if base is None:
                return None
            if base.embedding_model != self._embedder.model:
                raise EmbeddingModelMismatch(model=base.embedding_model)
            if not _is_quick(document):
                await documents.advance(work, document, state="PARSING", percent=0)
            return _source(document, base)

    async def _parse(self, source: _Source) -> ParsedText:
        with tempfile.NamedTemporaryFile(prefix="kb-") as original:
            await self._fetch(source, original)
            return await self._parser.parse(Path(original.name), media_type=source.media_type)

    async def _fetch(self, source: _Source, target: IO[bytes]) -> None:
        """Read the bytes back; a document is never READY by bytes that the store does not have."""
        digest = hashlib.sha256()
        async for piece in self._storage.get(source.object_key):
            digest.update(piece)
            target.write(piece)
        target.flush()
        if digest.hexdigest() != source.sha256:
            raise StoredBytesDiffer

    async def _embed(self, passages: Sequence[str], states: "_States") -> list[Vector]:
        vectors: list[Vector] = []
        for start in range(0, len(passages), _EMBED_AT_ONCE):
            done = start / len(passages)
            percent = _PERCENT_PARSED + int(done * (_PERCENT_EMBEDDED - _PERCENT_PARSED))
            await states.enter("EMBEDDING", percent=percent)
            vectors += await self._embedder.embed_passages(passages[start : start + _EMBED_AT_ONCE])
        return vectors

    async def _index(self, attempt: Attempt, source: _Source, prepared: _Prepared, vectors: Sequence[Vector]) -> None:
        entries = [
            IndexEntry(new_id(), chunk, length, vector)
            for chunk, length, vector in zip(prepared.chunks, prepared.lengths, vectors, strict=True)
        ]
        async with self._acquire.as_organization(attempt.organization_id, ACTOR) as work:
            await attempt.fence(work)
            document = await work.documents.locked(source.document_id)
            if document is None:
                return  # Deleted meanwhile, and nothing of it may come back.
            _finish(work, document, prepared, model=self._embedder)
            await work.session.flush()
            await work.index.remove(knowledge_base_id=source.knowledge_base_id, document_id=source.document_id)
            await work.index.add(
                knowledge_base_id=source.knowledge_base_id,
                document_id=source.document_id,
                text=prepared.parsed.text,
                entries=entries,
                postings=prepared.postings,
            )


class FailDocument:
    """Records that an ingest was given up."""

    def __init__(self, acquire: Acquire[KbUnitOfWork]) -> None:
        self._acquire = acquire

    async def __call__(self, organization_id: UUID, document_id: UUID, error: DocumentUnusable) -> None:
        """Fail a document, with the reason of the error."""
        async with self._acquire.as_organization(organization_id, ACTOR) as work:
            await documents.fail(work, document_id, error)


class _States:
    """Shows how far an ingest is, at most twice a second."""

    def __init__(self, acquire: Acquire[KbUnitOfWork], attempt: Attempt, document_id: UUID) -> None:
        self._acquire = acquire
        self._attempt = attempt
        self._document_id = document_id
        self._state = "PARSING"
        self._shown_at = asyncio.get_running_loop().time()

    async def enter(self, state: str, *, percent: int) -> None:
        """Show a state and a percentage. Raises when the job was cancelled or lost."""
        now = asyncio.get_running_loop().time()
        if now - self._shown_at < _QUIET_SECONDS:
            return
        self._shown_at = now
        await self._attempt.progress(percent, 100, state.lower())
        async with self._acquire.as_organization(self._attempt.organization_id, ACTOR) as work:
            await self._attempt.fence(work)
            if state == self._state:
                await work.documents.set_progress(self._document_id, percent)
                return
            document = await work.documents.locked(self._document_id)
            if document is None:
                raise DocumentNotFound
            await documents.advance(work, document, state=state, percent=percent)
        self._state = state


def _is_quick(document: models.Document) -> bool:
    return document.media_type == TEXT and document.size_bytes < _QUICK_BYTES


def _source(document: models.Document, base: models.KnowledgeBase) -> _Source:
    return _Source(
        document_id=document.id,
        knowledge_base_id=base.id,
        title=document.title,
        object_key=document.object_key,
        sha256=document.sha256,
        media_type=document.media_type,
        chunking=Chunking(base.chunk_size_tokens, base.chunk_overlap_tokens),
        language=base.language,
    )


def _prepare(parsed: ParsedText, source: _Source, tokenizer: Tokenizer) -> _Prepared:
    chunks = split(parsed, tokens=tokenizer.spans(parsed.text), chunking=source.chunking)
    passages = [passage(chunk, title=source.title) for chunk in chunks]
    postings, lengths = postings_of(passages, language=source.language)
    return _Prepared(parsed, chunks, passages, postings, lengths)


def _finish(work: KbUnitOfWork, document: models.Document, prepared: _Prepared, *, model: Embedder) -> None:
    """Make a document READY, and announce that and what its vectors cost."""
    document.state = "READY"
    document.progress_percent = 100
    document.version += 1
    document.character_count = len(prepared.parsed.text)
    document.page_count = len(prepared.parsed.page_starts)
    document.chunk_count = len(prepared.chunks)
    document.token_count = sum(chunk.token_count for chunk in prepared.chunks)
    document.ready_time = document.update_time = work.now()
    target = ids.DOCUMENT.show(document.id)
    base = ids.KNOWLEDGE_BASE.show(document.knowledge_base_id)
    indexed = DocumentIndexed(
        document_id=target, knowledge_base_id=base, version=document.version, chunk_count=document.chunk_count
    )
    work.outbox.add(indexed, target=target, revision=document.revision + 1)
    usage = EmbeddingUsageRecorded(
        knowledge_base_id=base,
        document_id=target,
        model=model.model,
        tokens=document.token_count,
        cost_nano_usd=document.token_count * model.nano_usd_per_million_tokens // 1_000_000,
    )
    work.outbox.add(usage, target=target)
