"""DocumentService."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody  # type: ignore[import-untyped]  # Google ships no types for it
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict

from chassis.data.unit_of_work import Acquire
from chassis.rpc.masks import masked
from definable.kb.v1 import document_service_pb2 as pb
from definable.kb.v1.document_service_pb2_grpc import DocumentServiceServicer
from kb import convert, models
from kb.application import documents
from kb.application.documents import NewDocument
from kb.application.uploads import DownloadDocument, UploadDocument
from kb.domain import ids
from kb.domain.media_types import TEXT, FileName
from kb.repositories.resources import DocumentFilter, PageRequest
from kb.servicers import streams
from kb.unit_of_work import KbUnitOfWork

Context = Any  # Any: grpc's generic context; nothing here looks into it


class Documents(DocumentServiceServicer):
    """Serves documents."""

    def __init__(self, acquire: Acquire[KbUnitOfWork], upload: UploadDocument, download: DownloadDocument) -> None:
        self._acquire = acquire
        self._upload = upload
        self._download = download

    async def UploadDocument(self, request_iterator: streams.Requests, context: Context) -> pb.Document:
        asked: pb.UploadDocumentMetadata = await streams.metadata_of(request_iterator)
        name = FileName.of(asked.file_name).text
        new = NewDocument(
            knowledge_base_id=ids.KNOWLEDGE_BASE.parse(asked.knowledge_base_id, field="knowledge_base_id"),
            title=asked.title or name,
            file_name=name,
            folder_id=_folder(asked.folder_id),
            metadata=MessageToDict(asked.metadata),
        )
        content = streams.bytes_of(request_iterator)
        return convert.document(await self._upload(new, content, sha256=asked.sha256, finish=_reply))

    async def CreateTextDocument(self, request: pb.CreateTextDocumentRequest, context: Context) -> pb.Document:
        new = NewDocument(
            knowledge_base_id=ids.KNOWLEDGE_BASE.parse(request.knowledge_base_id, field="knowledge_base_id"),
            title=request.title,
            folder_id=_folder(request.folder_id),
            metadata=MessageToDict(request.metadata),
        )
        content = _once(request.text.encode())
        return convert.document(await self._upload(new, content, media_type=request.media_type or TEXT, finish=_reply))

    async def ListDocuments(self, request: pb.ListDocumentsRequest, context: Context) -> pb.ListDocumentsResponse:
        shown = DocumentFilter(
            knowledge_base_id=ids.KNOWLEDGE_BASE.parse(request.knowledge_base_id, field="knowledge_base_id"),
            state=pb.DocumentState.Name(request.state).removeprefix("DOCUMENT_STATE_") if request.state else "",
            is_folder_given=request.HasField("folder_id"),
            folder_id=_folder(request.folder_id),
        )
        wanted = PageRequest(request.page_size, request.page_token, request.order_by, request.query)
        async with self._acquire() as work:
            page = await documents.listed(work, shown, wanted)
            return pb.ListDocumentsResponse(
                documents=[convert.document(document) for document in page.items],
                next_page_token=page.next_page_token,
            )

    async def GetDocument(self, request: pb.GetDocumentRequest, context: Context) -> pb.Document:
        document_id = ids.DOCUMENT.parse(request.id)
        async with self._acquire() as work:
            return convert.document(await documents.get(work, document_id))

    async def UpdateDocument(self, request: pb.UpdateDocumentRequest, context: Context) -> pb.Document:
        document_id = ids.DOCUMENT.parse(request.document.id, field="document.id")
        changes = masked(request.document, request.update_mask, allowed=("title", "folder_id", "metadata"))
        if "folder_id" in changes:
            changes["folder_id"] = _folder(changes["folder_id"])
        if "metadata" in changes:
            changes["metadata"] = MessageToDict(changes["metadata"]) if changes["metadata"] else {}
        async with self._acquire() as work:
            return work.reply(convert.document(await documents.update(work, document_id, changes)))

    async def DeleteDocument(self, request: pb.DeleteDocumentRequest, context: Context) -> Empty:
        document_id = ids.DOCUMENT.parse(request.id)
        async with self._acquire() as work:
            await documents.delete(work, document_id)
            return work.reply(Empty())

    async def RetryDocument(self, request: pb.RetryDocumentRequest, context: Context) -> pb.Document:
        document_id = ids.DOCUMENT.parse(request.id)
        async with self._acquire() as work:
            return work.reply(convert.document(await documents.retry(work, document_id)))

    async def DownloadDocument(self, request: pb.DownloadDocumentRequest, context: Context) -> AsyncIterator[HttpBody]:
        document, content = await self._download(ids.DOCUMENT.parse(request.id))
        async for body in streams.bodies(content, media_type=document.media_type):
            yield body

    async def GetDocumentText(self, request: pb.GetDocumentTextRequest, context: Context) -> pb.DocumentText:
        document_id = ids.DOCUMENT.parse(request.id)
        async with self._acquire() as work:
            document, text = await documents.extracted_text(work, document_id, start=request.start, end=request.end)
            return pb.DocumentText(
                text=text,
                version=document.version,
                start=request.start,
                end=request.start + len(text),
                character_count=document.character_count,
            )


def _reply(work: KbUnitOfWork, document: models.Document) -> None:
    work.reply(convert.document(document))


def _folder(text: str) -> UUID | None:
    return ids.FOLDER.parse(text, field="folder_id") if text else None


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
