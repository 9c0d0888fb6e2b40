"""Use cases of documents that need no network: their life from acceptance to READY, FAILED or deletion."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from chassis.data.database import check_etag
from chassis.data.pagination import Page
from chassis.storage import Stored
from definable.kb.v1.events_pb2 import (
    DocumentAccepted,
    DocumentDeleted,
    DocumentFailed,
    DocumentProgressed,
    DocumentRetried,
    DocumentUpdated,
)
from kb import models
from kb.application import folders, knowledge_bases
from kb.domain import ids
from kb.domain.errors import (
    DocumentNotFailed,
    DocumentNotFound,
    DocumentNotReady,
    DocumentUnusable,
    DocumentWithoutBytes,
    MetadataTooLarge,
)
from kb.repositories.resources import DocumentFilter, PageRequest
from kb.unit_of_work import KbUnitOfWork

INGEST_JOB = "ingest_document"
ERASE_JOB = "erase_objects"
METADATA_BYTES = 16 * 1024
TEXT_PAGE_CHARACTERS = 500_000


@dataclass(frozen=True, slots=True)
class NewDocument:
    """What a caller says of a document before its bytes come."""

    knowledge_base_id: UUID
    title: str
    file_name: str = ""
    folder_id: UUID | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON


async def begin(work: KbUnitOfWork, new: NewDocument) -> models.Document:
    """Record a document that waits for its bytes.

    Raises KnowledgeBaseNotFound, FolderNotFound, MetadataTooLarge.
    """
    await knowledge_bases.held(work, new.knowledge_base_id)
    if new.folder_id is not None:
        await folders.get_in(work, new.folder_id, knowledge_base_id=new.knowledge_base_id)
    _check_metadata(new.metadata)
    document_id = work.new_id()
    return work.documents.add(
        models.Document(
            id=document_id,
            knowledge_base_id=new.knowledge_base_id,
            folder_id=new.folder_id,
            title=new.title,
            attributes=dict(new.metadata),
            file_name=new.file_name,
            object_key=f"{work.organization_id}/documents/{document_id}",
            create_time=work.now(),
            update_time=work.now(),
            **_FRESH,
            **_WITHOUT_BYTES,
        )
    )


async def accept(work: KbUnitOfWork, id: UUID, *, stored: Stored, media_type: str) -> models.Document:
    """Record that the bytes of a document are stored, and queue its ingest. Raises DocumentNotFound."""
    document = await locked(work, id)
    document.size_bytes = stored.size_bytes
    document.sha256 = stored.sha256
    document.media_type = media_type
    document.update_time = work.now()
    job = _queue(work, document)
    await work.session.flush()
    accepted = DocumentAccepted(**_named(document), size_bytes=stored.size_bytes, job_id=job)
    _announce(work, document, accepted, after=_content(document))
    return document


async def discard(work: KbUnitOfWork, id: UUID) -> bool:
    """Forget a document whose bytes were refused or did not come; return False when it was accepted after all."""
    document = await work.documents.locked(id)
    if document is None:
        return True
    if document.sha256:
        return False
    await work.documents.delete(document)
    return True


async def get(work: KbUnitOfWork, id: UUID) -> models.Document:
    """Return a document. Raises DocumentNotFound."""
    document = await work.documents.get(id)
    if document is None:
        raise DocumentNotFound(id=ids.DOCUMENT.show(id))
    return document


async def locked(work: KbUnitOfWork, id: UUID) -> models.Document:
    """Return a document that nobody else changes before the unit ends. Raises DocumentNotFound."""
    document = await work.documents.locked(id)
    if document is None:
        raise DocumentNotFound(id=ids.DOCUMENT.show(id))
    return document


async def listed(work: KbUnitOfWork, filter: DocumentFilter, request: PageRequest) -> Page[models.Document]:
    """Return a page of the documents of a base. Raises KnowledgeBaseNotFound, FolderNotFound."""
    await knowledge_bases.get(work, filter.knowledge_base_id)
    if filter.folder_id is not None:
        await folders.get_in(work, filter.folder_id, knowledge_base_id=filter.knowledge_base_id)
    return await work.documents.listed(filter, request)


async def update(work: KbUnitOfWork, id: UUID, changes: Mapping[str, Any]) -> models.Document:
    """Change `title`, `folder_id` or `metadata`.

    Raises DocumentNotFound, FolderNotFound, MetadataTooLarge, EtagMismatch.
    """
    document = await locked(work, id)
    check_etag(document)
    before = _content(document)
    if "title" in changes:
        document.title = changes["title"] or document.file_name or document.title
    if "folder_id" in changes:
        if changes["folder_id"] is not None:
            await folders.get_in(work, changes["folder_id"], knowledge_base_id=document.knowledge_base_id)
        document.folder_id = changes["folder_id"]
    if "metadata" in changes:
        _check_metadata(changes["metadata"])
        document.attributes = dict(changes["metadata"])
    document.update_time = work.now()
    await work.session.flush()
    _announce(work, document, DocumentUpdated(**_named(document)), before=before, after=_content(document))
    return document


async def delete(work: KbUnitOfWork, id: UUID) -> None:
    """Delete a document with all that is indexed of it, and queue the erasing of its bytes.

    Raises DocumentNotFound, EtagMismatch.
    """
    document = await locked(work, id)
    check_etag(document)
    await erase(work, document)
    target = ids.DOCUMENT.show(id)
    work.jobs.enqueue(ERASE_JOB, {"keys": [document.object_key]}, target=target)
    _announce(work, document, DocumentDeleted(**_named(document)), before=_content(document))


async def erase(work: KbUnitOfWork, document: models.Document) -> None:
    """Delete a document and all that is indexed of it; its bytes are the caller's to erase."""
    await work.index.remove(knowledge_base_id=document.knowledge_base_id, document_id=document.id)
    await work.documents.delete(document)
    await work.session.flush()


async def retry(work: KbUnitOfWork, id: UUID) -> models.Document:
    """Queue the ingest of a failed document again.

    Raises DocumentNotFound, DocumentNotFailed, DocumentWithoutBytes.
    """
    document = await locked(work, id)
    if document.state != "FAILED":
        raise DocumentNotFailed(state=document.state)
    if not document.sha256:
        raise DocumentWithoutBytes
    for field_name, value in _FRESH.items():
        if field_name != "version":
            setattr(document, field_name, value)
    document.update_time = work.now()
    job = _queue(work, document)
    await work.session.flush()
    _announce(work, document, DocumentRetried(**_named(document), job_id=job))
    return document


async def advance(work: KbUnitOfWork, document: models.Document, *, state: str, percent: int) -> None:
    """Record that an ingest has come to another state, and announce it."""
    document.state = state
    document.progress_percent = percent
    document.update_time = work.now()
    await work.session.flush()
    _announce(work, document, DocumentProgressed(**_named(document), state=state.lower()))


async def fail(work: KbUnitOfWork, id: UUID, error: DocumentUnusable) -> None:
    """Record why a document cannot be ingested, and announce it; nothing of it stays in the index.

    Without effect on a document that is gone or has ended already.
    """
    document = await work.documents.locked(id)
    if document is None or document.state in ("READY", "FAILED"):
        return
    await work.index.remove(knowledge_base_id=document.knowledge_base_id, document_id=id)
    document.state = "FAILED"
    document.failure_reason = error.reason
    document.failure_message = error.message
    document.update_time = work.now()
    await work.session.flush()
    _announce(work, document, DocumentFailed(**_named(document), reason=error.reason))


async def extracted_text(work: KbUnitOfWork, id: UUID, *, start: int, end: int) -> tuple[models.Document, str]:
    """Return a document and the characters [start, end) of its text, at most half a million; `end` 0 is all.

    Raises DocumentNotFound, DocumentNotReady.
    """
    document = await get(work, id)
    first = min(start, document.character_count)
    last = min(end or document.character_count, first + TEXT_PAGE_CHARACTERS)
    found = await work.documents.text(id, start=first, end=last)
    if document.state != "READY" or found is None:
        raise DocumentNotReady(state=document.state)
    return document, found[0]


def _queue(work: KbUnitOfWork, document: models.Document) -> str:
    target = ids.DOCUMENT.show(document.id)
    document.job_id = work.jobs.enqueue(INGEST_JOB, {"document_id": target}, target=target)
    return ids.JOB.show(document.job_id)


def _check_metadata(metadata: Mapping[str, Any]) -> None:  # Any: JSON
    if len(json.dumps(dict(metadata)).encode()) > METADATA_BYTES:
        raise MetadataTooLarge(limit_bytes=METADATA_BYTES)


def _announce(
    work: KbUnitOfWork,
    document: models.Document,
    event: Message,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    work.outbox.add(
        event, target=ids.DOCUMENT.show(document.id), before=before, after=after, revision=document.revision or 0
    )


def _named(document: models.Document) -> dict[str, str]:
    return {
        "document_id": ids.DOCUMENT.show(document.id),
        "knowledge_base_id": ids.KNOWLEDGE_BASE.show(document.knowledge_base_id),
    }


def _content(document: models.Document) -> dict[str, object]:
    return {
        "title": document.title,
        "folder_id": str(document.folder_id or ""),
        "metadata": document.attributes,
        "sha256": document.sha256,
    }


# How a document stands before its ingest, the first one or another.
_FRESH: dict[str, Any] = {  # Any: values of columns
    "state": "PENDING",
    "failure_reason": "",
    "failure_message": "",
    "progress_percent": 0,
    "version": 0,
    "character_count": 0,
    "page_count": 0,
    "chunk_count": 0,
    "token_count": 0,
}
_WITHOUT_BYTES: dict[str, Any] = {"media_type": "", "size_bytes": 0, "sha256": ""}
