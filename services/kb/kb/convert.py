"""From rows to the messages of the contract."""

from collections.abc import Iterable, Sequence

from google.protobuf.struct_pb2 import Struct

from chassis.data.database import etag
from chassis.rpc.times import timestamp
from definable.kb.v1 import document_service_pb2 as document_pb
from definable.kb.v1 import file_service_pb2 as file_pb
from definable.kb.v1 import folder_service_pb2 as folder_pb
from definable.kb.v1 import knowledge_base_service_pb2 as base_pb
from definable.kb.v1 import search_service_pb2 as search_pb
from kb import models
from kb.application.search import Hit
from kb.domain import ids
from kb.repositories.resources import Counts


def knowledge_base(base: models.KnowledgeBase, counts: Counts) -> base_pb.KnowledgeBase:
    """Return a base with what it holds."""
    return base_pb.KnowledgeBase(
        id=ids.KNOWLEDGE_BASE.show(base.id),
        display_name=base.display_name,
        description=base.description,
        language=base.language,
        chunking=base_pb.Chunking(size_tokens=base.chunk_size_tokens, overlap_tokens=base.chunk_overlap_tokens),
        embedding_model=base.embedding_model,
        document_count=counts.documents,
        ready_document_count=counts.ready,
        failed_document_count=counts.failed,
        chunk_count=counts.chunks,
        size_bytes=counts.size_bytes,
        create_time=timestamp(base.create_time),
        update_time=timestamp(base.update_time),
        etag=etag(base),
    )


def folder(row: models.Folder, above: Sequence[models.Folder] = ()) -> folder_pb.Folder:
    """Return a folder with the way to it."""
    return folder_pb.Folder(
        id=ids.FOLDER.show(row.id),
        knowledge_base_id=ids.KNOWLEDGE_BASE.show(row.knowledge_base_id),
        parent_id=ids.FOLDER.show(row.parent_id) if row.parent_id else "",
        display_name=row.display_name,
        breadcrumbs=breadcrumbs(above),
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        etag=etag(row),
    )


def breadcrumbs(way: Iterable[models.Folder]) -> list[folder_pb.Breadcrumb]:
    """Return folders as steps of a way."""
    return [folder_pb.Breadcrumb(id=ids.FOLDER.show(step.id), display_name=step.display_name) for step in way]


def file(row: models.File) -> file_pb.File:
    """Return a file."""
    return file_pb.File(
        id=ids.FILE.show(row.id),
        file_name=row.file_name,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        create_time=timestamp(row.create_time),
    )


def document(row: models.Document) -> document_pb.Document:
    """Return a document."""
    message = document_pb.Document(
        id=ids.DOCUMENT.show(row.id),
        knowledge_base_id=ids.KNOWLEDGE_BASE.show(row.knowledge_base_id),
        folder_id=ids.FOLDER.show(row.folder_id) if row.folder_id else "",
        title=row.title,
        state=document_pb.DocumentState.Value(f"DOCUMENT_STATE_{row.state}"),
        failure_reason=row.failure_reason,
        failure_message=row.failure_message,
        progress_percent=row.progress_percent,
        version=row.version,
        file_name=row.file_name,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        character_count=row.character_count,
        page_count=row.page_count,
        chunk_count=row.chunk_count,
        token_count=row.token_count,
        job_id=ids.JOB.show(row.job_id) if row.job_id else "",
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        ready_time=timestamp(row.ready_time),
        etag=etag(row),
    )
    if row.attributes:
        attributes = Struct()
        attributes.update(row.attributes)
        message.metadata.CopyFrom(attributes)
    return message


def hit(found: Hit) -> search_pb.SearchHit:
    """Return a hit of a search."""
    chunk = found.chunk
    return search_pb.SearchHit(
        knowledge_base_id=ids.KNOWLEDGE_BASE.show(chunk.knowledge_base_id),
        document_id=ids.DOCUMENT.show(chunk.document_id),
        chunk_id=ids.CHUNK.show(chunk.id),
        document_title=found.document_title,
        document_version=found.document_version,
        page=chunk.page,
        start=chunk.start_offset,
        end=chunk.end_offset,
        text=chunk.text,
        score=found.candidate.score,
        dense_score=found.candidate.dense,
        lexical_score=found.candidate.lexical,
        highlights=[search_pb.Highlight(start=start, end=end) for start, end in found.highlights],
        heading_path=chunk.heading_path,
    )
