"""Bytes on their way in and out: they go to and from storage while no transaction is open."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from uuid import UUID

from chassis.data.pagination import Page
from chassis.data.unit_of_work import Acquire
from chassis.storage import Storage, Stored
from definable.kb.v1.events_pb2 import FileDeleted, FileStored
from kb import models
from kb.application import documents
from kb.application.documents import ERASE_JOB, NewDocument
from kb.domain import ids
from kb.domain.errors import (
    DocumentWithoutBytes,
    FileEmpty,
    FileHashMismatch,
    FileNotFound,
    FileTooLarge,
    StoredBytesDiffer,
)
from kb.domain.media_types import SNIFF_BYTES, FileName, sniff
from kb.repositories.resources import PageRequest
from kb.unit_of_work import KbUnitOfWork

Content = AsyncIterator[bytes]


class Intake:
    """Bytes that pass by on their way to storage: their beginning is kept for a look, their number is capped."""

    def __init__(self, content: Content, *, limit_bytes: int) -> None:
        self._content = content
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self.beginning = b""

    async def __aiter__(self) -> Content:
        """Yield the bytes. Raises FileTooLarge."""
        async for piece in self._content:
            self._size_bytes += len(piece)
            if self._size_bytes > self._limit_bytes:
                raise FileTooLarge(limit_bytes=self._limit_bytes)
            if len(self.beginning) < SNIFF_BYTES:
                self.beginning += piece[: SNIFF_BYTES - len(self.beginning)]
            yield piece


class Store:
    """Puts bytes into storage and checks what a caller may have announced."""

    def __init__(self, storage: Storage, *, limit_bytes: int) -> None:
        self._storage = storage
        self._limit_bytes = limit_bytes

    async def put(self, key: str, content: Content, *, file_name: str, sha256: str = "") -> tuple[Stored, str]:
        """Store bytes and return what was stored, and its media type.

        Raises FileTooLarge, FileEmpty, FileHashMismatch; nothing stays stored then.
        """
        intake = Intake(content, limit_bytes=self._limit_bytes)
        stored = await self._storage.put(key, aiter(intake))
        try:
            if not stored.size_bytes:
                raise FileEmpty
            if sha256 and sha256.lower() != stored.sha256:
                raise FileHashMismatch(sha256=stored.sha256)
        except (FileEmpty, FileHashMismatch):
            await self._storage.delete(key)
            raise
        return stored, sniff(intake.beginning, file_name=file_name)

    async def check(self, key: str, *, sha256: str) -> None:
        """Read bytes back and compare their hash. Raises StoredBytesDiffer."""
        digest = hashlib.sha256()
        async for piece in self._storage.get(key):
            digest.update(piece)
        if digest.hexdigest() != sha256:
            raise StoredBytesDiffer

    async def delete(self, key: str) -> None:
        """Delete bytes; none is fine."""
        await self._storage.delete(key)

    def get(self, key: str) -> Content:
        """Yield the bytes."""
        return self._storage.get(key)


class UploadDocument:
    """Accept a document: record it, store its bytes, queue its ingest."""

    def __init__(self, acquire: Acquire[KbUnitOfWork], store: Store) -> None:
        self._acquire = acquire
        self._store = store

    async def __call__(
        self,
        new: NewDocument,
        content: Content,
        *,
        finish: Callable[[KbUnitOfWork, models.Document], object],
        sha256: str = "",
        media_type: str = "",
    ) -> models.Document:
        """Store and queue a document; `finish` runs in the unit that accepts it.

        `media_type` is for bytes that we wrote ourselves; those of a caller are looked at.
        Raises KnowledgeBaseNotFound, FolderNotFound, MetadataTooLarge, FileTooLarge, FileEmpty, FileHashMismatch.
        """
        async with self._acquire() as work:
            document = await documents.begin(work, new)
        try:
            stored, sniffed = await self._store.put(
                document.object_key, content, file_name=new.file_name, sha256=sha256
            )
            async with self._acquire() as work:
                accepted = await documents.accept(work, document.id, stored=stored, media_type=media_type or sniffed)
                finish(work, accepted)
        except BaseException:
            # Also when the client has left, so that no list shows what nobody will finish.
            await asyncio.shield(self._discard(document.id, document.object_key))
            raise
        return accepted

    async def _discard(self, id: UUID, key: str) -> None:
        async with self._acquire() as work:
            is_gone = await documents.discard(work, id)
        if is_gone:
            await self._store.delete(key)


class DownloadDocument:
    """Hand out the original bytes of a document."""

    def __init__(self, acquire: Acquire[KbUnitOfWork], store: Store) -> None:
        self._acquire = acquire
        self._store = store

    async def __call__(self, id: UUID) -> tuple[models.Document, Content]:
        """Return a document and its bytes. Raises DocumentNotFound, DocumentWithoutBytes."""
        async with self._acquire() as work:
            document = await documents.get(work, id)
        if not document.sha256:
            raise DocumentWithoutBytes
        return document, self._store.get(document.object_key)


class Files:
    """Files: stored, listed, handed out, deleted."""

    def __init__(self, acquire: Acquire[KbUnitOfWork], store: Store) -> None:
        self._acquire = acquire
        self._store = store

    async def upload(
        self, content: Content, *, file_name: str, sha256: str, finish: Callable[[KbUnitOfWork, models.File], object]
    ) -> models.File:
        """Store a file, read it back, and record it; `finish` runs in the unit that does.

        Raises FileTooLarge, FileEmpty, FileHashMismatch, StoredBytesDiffer.
        """
        async with self._acquire() as work:
            file_id, organization_id = work.new_id(), work.organization_id
        name = FileName.of(file_name).text
        key = f"{organization_id}/files/{file_id}"
        try:
            stored, media_type = await self._store.put(key, content, file_name=name, sha256=sha256)
            await self._store.check(key, sha256=stored.sha256)
            async with self._acquire() as work:
                file = _add(work, file_id, name=name, key=key, stored=stored, media_type=media_type)
                finish(work, file)
        except BaseException:
            await asyncio.shield(self._store.delete(key))
            raise
        return file

    async def download(self, id: UUID) -> tuple[models.File, Content]:
        """Return a file and its bytes. Raises FileNotFound."""
        async with self._acquire() as work:
            file = await get_file(work, id)
        return file, self._store.get(file.object_key)


def _add(work: KbUnitOfWork, id: UUID, *, name: str, key: str, stored: Stored, media_type: str) -> models.File:
    file = models.File(
        id=id,
        file_name=name,
        media_type=media_type,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        object_key=key,
        create_time=work.now(),
        update_time=work.now(),
    )
    target = ids.FILE.show(id)
    event = FileStored(file_id=target, size_bytes=stored.size_bytes, media_type=media_type)
    work.outbox.add(event, target=target, after={"sha256": stored.sha256, "file_name": name})
    return work.files.add(file)


async def get_file(work: KbUnitOfWork, id: UUID) -> models.File:
    """Return a file. Raises FileNotFound."""
    file = await work.files.get(id)
    if file is None:
        raise FileNotFound(id=ids.FILE.show(id))
    return file


async def list_files(work: KbUnitOfWork, request: PageRequest) -> Page[models.File]:
    """Return a page of files, newest first."""
    return await work.files.listed(request)


async def delete_file(work: KbUnitOfWork, id: UUID) -> None:
    """Delete a file, and queue the erasing of its bytes. Raises FileNotFound."""
    file = await get_file(work, id)
    await work.files.delete(file)
    target = ids.FILE.show(id)
    work.jobs.enqueue(ERASE_JOB, {"keys": [file.object_key]}, target=target)
    work.outbox.add(FileDeleted(file_id=target), target=target, before={"sha256": file.sha256})
