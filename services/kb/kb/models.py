"""The tables of kb. `migrations/` makes them; a test holds the two together."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import BigInteger, DateTime, ForeignKeyConstraint, Index, Integer, SmallInteger, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.data.database import TableKind, TenantMixin, Timestamps, Versioned, service_metadata


class Base(DeclarativeBase):
    """What all tables of kb have in common."""

    metadata = service_metadata("kb")


class KnowledgeBase(TenantMixin, Timestamps, Versioned, Base):
    """A collection of documents. With a `delete_time` it is gone for callers and waits to be erased."""

    __tablename__ = "knowledge_bases"

    display_name: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(Text)
    chunk_size_tokens: Mapped[int]
    chunk_overlap_tokens: Mapped[int]
    embedding_model: Mapped[str] = mapped_column(Text)
    delete_time: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


Index(
    "uq_knowledge_bases_display_name",
    KnowledgeBase.organization_id,
    func.lower(KnowledgeBase.display_name),
    unique=True,
    postgresql_where=KnowledgeBase.delete_time.is_(None),
)


class Folder(TenantMixin, Timestamps, Versioned, Base):
    """A place for documents and other folders of one base."""

    __tablename__ = "folders"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "knowledge_base_id"], ["kb.knowledge_bases.organization_id", "kb.knowledge_bases.id"]
        ),
        ForeignKeyConstraint(["organization_id", "parent_id"], ["kb.folders.organization_id", "kb.folders.id"]),
    )

    knowledge_base_id: Mapped[UUID]
    parent_id: Mapped[UUID | None]
    display_name: Mapped[str] = mapped_column(Text)


Index(
    "uq_folders_display_name",
    Folder.organization_id,
    Folder.knowledge_base_id,
    Folder.parent_id,
    func.lower(Folder.display_name),
    unique=True,
    postgresql_nulls_not_distinct=True,
)
Index("ix_folders_organization_id_parent_id", Folder.organization_id, Folder.parent_id)


class File(TenantMixin, Timestamps, Base):
    """Stored bytes that were read back."""

    __tablename__ = "files"

    file_name: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    object_key: Mapped[str] = mapped_column(Text)


class Document(TenantMixin, Timestamps, Versioned, Base):
    """One file or text of a base, from its acceptance on. Without a `sha256` its bytes have not arrived."""

    __tablename__ = "documents"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "knowledge_base_id"], ["kb.knowledge_bases.organization_id", "kb.knowledge_bases.id"]
        ),
        ForeignKeyConstraint(["organization_id", "folder_id"], ["kb.folders.organization_id", "kb.folders.id"]),
    )

    knowledge_base_id: Mapped[UUID]
    folder_id: Mapped[UUID | None]
    title: Mapped[str] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB)  # Any: JSON that a caller keeps with it
    state: Mapped[str] = mapped_column(Text)
    failure_reason: Mapped[str] = mapped_column(Text)
    failure_message: Mapped[str] = mapped_column(Text)
    progress_percent: Mapped[int] = mapped_column(SmallInteger)
    version: Mapped[int]
    file_name: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    object_key: Mapped[str] = mapped_column(Text)
    character_count: Mapped[int]
    page_count: Mapped[int]
    chunk_count: Mapped[int]
    token_count: Mapped[int]
    job_id: Mapped[UUID | None]
    ready_time: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


Index(
    "ix_documents_newest",
    Document.organization_id,
    Document.knowledge_base_id,
    Document.create_time,
    Document.id,
)
Index("ix_documents_state", Document.organization_id, Document.knowledge_base_id, Document.state)
Index("ix_documents_organization_id_folder_id", Document.organization_id, Document.folder_id)
Index("ix_documents_unfinished", Document.create_time, postgresql_where=Document.state.not_in(["READY", "FAILED"]))


class DocumentText(Base):
    """The extracted text of a READY document, and the terms it has postings for."""

    __tablename__ = "document_texts"
    __table_kind__: ClassVar[TableKind] = TableKind.TENANT
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "document_id"], ["kb.documents.organization_id", "kb.documents.id"], ondelete="CASCADE"
        ),
    )

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    terms: Mapped[list[str]] = mapped_column(ARRAY(Text))


class Chunk(TenantMixin, Base):
    """A passage of a READY document with its vector. Offsets are characters of the document's text, end exclusive."""

    __tablename__ = "chunks"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "document_id"], ["kb.documents.organization_id", "kb.documents.id"], ondelete="CASCADE"
        ),
        Index("uq_chunks_ordinal", "organization_id", "document_id", "ordinal", unique=True),
        Index("ix_chunks_organization_id_knowledge_base_id", "organization_id", "knowledge_base_id"),
    )

    knowledge_base_id: Mapped[UUID]
    document_id: Mapped[UUID]
    ordinal: Mapped[int]
    start_offset: Mapped[int]
    end_offset: Mapped[int]
    page: Mapped[int]
    heading_path: Mapped[list[str]] = mapped_column(ARRAY(Text))
    text: Mapped[str] = mapped_column(Text)
    token_count: Mapped[int]
    length: Mapped[int]
    """Terms in it: its length for BM25."""
    embedding: Mapped[Any] = mapped_column(HALFVEC)  # Any: pgvector's own type, only read and written by SQL


class Posting(Base):
    """Where a term stands in one document: a block of its chunks, with how often and how long each is.

    The three numbers behind the arrays ride in the primary key's index, so that statistics of a term need no block.
    There is no foreign key: its check would cost more than the row. Documents leave through `index.remove` only.
    """

    __tablename__ = "postings"
    __table_kind__: ClassVar[TableKind] = TableKind.TENANT

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    knowledge_base_id: Mapped[UUID] = mapped_column(primary_key=True)
    term: Mapped[str] = mapped_column(Text, primary_key=True)
    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    chunk_count: Mapped[int]
    greatest_frequency: Mapped[int]
    least_length: Mapped[int]
    ordinals: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    frequencies: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    lengths: Mapped[list[int]] = mapped_column(ARRAY(Integer))


class LexicalStatistics(Base):
    """What BM25 wants to know of a base as a whole; changes in the transaction that changes its chunks."""

    __tablename__ = "lexical_statistics"
    __table_kind__: ClassVar[TableKind] = TableKind.TENANT
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "knowledge_base_id"],
            ["kb.knowledge_bases.organization_id", "kb.knowledge_bases.id"],
            ondelete="CASCADE",
        ),
    )

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    knowledge_base_id: Mapped[UUID] = mapped_column(primary_key=True)
    chunk_count: Mapped[int] = mapped_column(BigInteger)
    length_sum: Mapped[int] = mapped_column(BigInteger)
