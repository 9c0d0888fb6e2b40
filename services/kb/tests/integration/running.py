"""A running kb, as its tests use it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import boto3
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chassis.data.database import engine_url, role_name
from chassis.ids import new_id
from chassis.rpc.caller import Caller
from chassis.settings import StorageSettings
from chassis.testing import InProcessService, eventually
from definable.kb.v1 import document_service_pb2 as document_pb
from definable.kb.v1 import file_service_pb2 as file_pb
from definable.kb.v1 import folder_service_pb2 as folder_pb
from definable.kb.v1 import knowledge_base_service_pb2 as base_pb
from definable.kb.v1 import search_service_pb2 as search_pb
from definable.kb.v1.document_service_pb2_grpc import DocumentServiceStub
from definable.kb.v1.file_service_pb2_grpc import FileServiceStub
from definable.kb.v1.folder_service_pb2_grpc import FolderServiceStub
from definable.kb.v1.knowledge_base_service_pb2_grpc import KnowledgeBaseServiceStub
from definable.kb.v1.search_service_pb2_grpc import SearchServiceStub
from kb.unit_of_work import KbUnitOfWork

Stub = Any  # Any: what a generated stub's methods return depends on who made it
PIECE_BYTES = 64 * 1024
SOME_ID = "01h455vb4pex5vsknk084sn02q"


class Kb:
    """A kb service with stubs by resource, and the steps that most tests begin with."""

    def __init__(self, service: InProcessService) -> None:
        self.service = service
        self.outbox = service.outbox
        self.acquire = KbUnitOfWork.factory(service.database)

    def bases(self, caller: Caller | None) -> Stub:
        return self.service.stub(KnowledgeBaseServiceStub, caller)

    def folders(self, caller: Caller | None) -> Stub:
        return self.service.stub(FolderServiceStub, caller)

    def files(self, caller: Caller | None) -> Stub:
        return self.service.stub(FileServiceStub, caller)

    def documents(self, caller: Caller | None) -> Stub:
        return self.service.stub(DocumentServiceStub, caller)

    def searches(self, caller: Caller | None) -> Stub:
        return self.service.stub(SearchServiceStub, caller)

    async def a_base(self, caller: Caller, **fields: Any) -> base_pb.KnowledgeBase:
        """Create a base; its name is its own unless given."""
        fields.setdefault("display_name", f"Base {new_id()}")
        request = base_pb.CreateKnowledgeBaseRequest(knowledge_base=base_pb.KnowledgeBase(**fields))
        created: base_pb.KnowledgeBase = await self.bases(caller).CreateKnowledgeBase(request)
        return created

    async def a_folder(self, caller: Caller, base_id: str, name: str, parent_id: str = "") -> folder_pb.Folder:
        """Create a folder."""
        folder = folder_pb.Folder(knowledge_base_id=base_id, display_name=name, parent_id=parent_id)
        created: folder_pb.Folder = await self.folders(caller).CreateFolder(
            folder_pb.CreateFolderRequest(folder=folder)
        )
        return created

    async def a_text(
        self, caller: Caller, base_id: str, text: str, title: str = "A text", **fields: Any
    ) -> document_pb.Document:
        """Create a document from text; it is not ingested yet."""
        request = document_pb.CreateTextDocumentRequest(knowledge_base_id=base_id, title=title, text=text, **fields)
        created: document_pb.Document = await self.documents(caller).CreateTextDocument(request)
        return created

    async def a_ready_text(
        self, caller: Caller, base_id: str, text: str, title: str = "A text", **fields: Any
    ) -> document_pb.Document:
        """Create a document from text and wait until it is READY."""
        created = await self.a_text(caller, base_id, text, title, **fields)
        return await self.ended(caller, created.id, state=document_pb.DOCUMENT_STATE_READY)

    async def upload(
        self, caller: Caller | None, base_id: str, file_name: str, content: bytes, **fields: Any
    ) -> document_pb.Document:
        """Upload a document; it is not ingested yet."""
        metadata = document_pb.UploadDocumentMetadata(knowledge_base_id=base_id, file_name=file_name, **fields)
        stream = _messages(document_pb.UploadDocumentRequest, metadata, content)
        uploaded: document_pb.Document = await self.documents(caller).UploadDocument(stream)
        return uploaded

    async def upload_file(self, caller: Caller | None, file_name: str, content: bytes, **fields: Any) -> file_pb.File:
        """Upload a file."""
        metadata = file_pb.UploadFileMetadata(file_name=file_name, **fields)
        stored: file_pb.File = await self.files(caller).UploadFile(
            _messages(file_pb.UploadFileRequest, metadata, content)
        )
        return stored

    async def get(self, caller: Caller, document_id: str) -> document_pb.Document:
        """Read a document."""
        found: document_pb.Document = await self.documents(caller).GetDocument(
            document_pb.GetDocumentRequest(id=document_id)
        )
        return found

    async def ended(self, caller: Caller, document_id: str, *, state: int, timeout: float = 60) -> document_pb.Document:
        """Wait until the ingest of a document has ended, and check how."""

        async def is_ended() -> document_pb.Document | None:
            document = await self.get(caller, document_id)
            final = (document_pb.DOCUMENT_STATE_READY, document_pb.DOCUMENT_STATE_FAILED)
            return document if document.state in final else None

        document = await eventually(is_ended, timeout=timeout, every=0.05)
        assert document is not None
        assert document.state == state, document.failure_reason
        return document

    async def search(
        self, caller: Caller | None, base_ids: Sequence[str], query: str, **fields: Any
    ) -> Sequence[search_pb.SearchHit]:
        """Search bases."""
        request = search_pb.SearchKnowledgeBasesRequest(knowledge_base_ids=base_ids, query=query, **fields)
        found: search_pb.SearchKnowledgeBasesResponse = await self.searches(caller).SearchKnowledgeBases(request)
        return list(found.hits)

    async def text_of(self, caller: Caller, document_id: str) -> str:
        """Read the whole extracted text of a document, page by page."""
        whole, end, count = "", 0, 1
        while end < count:
            reply = await self.documents(caller).GetDocumentText(
                document_pb.GetDocumentTextRequest(id=document_id, start=end)
            )
            whole, end, count = whole + reply.text, reply.end, reply.character_count
        return whole

    def owner_engine(self) -> AsyncEngine:
        """Return an engine of the schema's owner, who sees all rows; the caller disposes of it."""
        settings = self.service.settings.database
        password = settings.owner_password.get_secret_value()
        return create_async_engine(engine_url(settings, role_name("kb", "owner"), password))

    async def row_counts(self, knowledge_base_id: UUID) -> dict[str, int]:
        """Count the rows of a base in every table, as the owner of the schema sees them."""
        engine = self.owner_engine()
        tables = {"knowledge_bases": "id"} | dict.fromkeys(
            ("folders", "documents", "chunks", "postings", "lexical_statistics"), "knowledge_base_id"
        )
        async with engine.connect() as connection:
            counts = {
                table: int(
                    await connection.scalar(
                        text(f"SELECT count(*) FROM kb.{table} WHERE {column} = :id"), {"id": knowledge_base_id}
                    )
                    or 0
                )
                for table, column in tables.items()
            }
        await engine.dispose()
        return counts

    async def stored_keys(self, caller: Caller) -> list[str]:
        """Return the keys of all objects that the caller's organization has in the store."""
        settings = self.service.settings.storage
        return await asyncio.to_thread(_listed, settings, f"{caller.organization_id}/")


def _listed(settings: StorageSettings, prefix: str) -> list[str]:
    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key.get_secret_value(),
    )
    return [item["Key"] for item in client.list_objects_v2(Bucket=settings.bucket, Prefix=prefix).get("Contents", ())]


async def _messages(kind: Any, metadata: Any, content: bytes) -> AsyncIterator[Any]:  # Any: either kind of upload
    yield kind(metadata=metadata)
    for start in range(0, len(content), PIECE_BYTES):
        yield kind(chunk=content[start : start + PIECE_BYTES])
