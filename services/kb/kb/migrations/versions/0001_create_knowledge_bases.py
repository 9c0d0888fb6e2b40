"""Create knowledge bases, folders, files, documents and the index, and the tables every service has."""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects import postgresql

from chassis.data import migrations as chassis_ops

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "kb"
TABLES = (
    "knowledge_bases",
    "folders",
    "files",
    "documents",
    "document_texts",
    "chunks",
    "postings",
    "lexical_statistics",
)

# The scrub looks for documents that nobody works on, in all organizations: it learns whose they are and nothing else.
ORGANIZATIONS_WITH_STRANDED_DOCUMENTS = """
CREATE FUNCTION kb.organizations_with_stranded_documents(older_than timestamptz) RETURNS SETOF uuid
LANGUAGE sql STABLE AS $$
    SELECT DISTINCT organization_id FROM kb.documents
    WHERE state NOT IN ('READY', 'FAILED') AND (
        sha256 = '' AND create_time < older_than
        OR EXISTS (SELECT FROM kb.jobs WHERE jobs.id = documents.job_id AND jobs.state IN ('CANCELLED', 'FAILED'))
    )
$$
"""


def upgrade() -> None:
    chassis_ops.shared_v1(SCHEMA)
    _create_knowledge_bases()
    _create_folders()
    _create_files()
    _create_documents()
    _create_document_texts()
    _create_chunks()
    _create_postings()
    _create_lexical_statistics()
    for table in TABLES:
        chassis_ops.protect_tenant(SCHEMA, table)
    chassis_ops.security_definer(SCHEMA, ORGANIZATIONS_WITH_STRANDED_DOCUMENTS)


def _create_knowledge_bases() -> None:
    op.create_table(
        "knowledge_bases",
        *_key(),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("chunk_size_tokens", sa.Integer(), nullable=False),
        sa.Column("chunk_overlap_tokens", sa.Integer(), nullable=False),
        sa.Column("embedding_model", sa.Text(), nullable=False),
        sa.Column("delete_time", _time()),
        *_timestamps(),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_knowledge_bases"),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_knowledge_bases_display_name",
        "knowledge_bases",
        ["organization_id", sa.text("lower(display_name)")],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("delete_time IS NULL"),
    )


def _create_folders() -> None:
    op.create_table(
        "folders",
        *_key(),
        sa.Column("knowledge_base_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid()),
        sa.Column("display_name", sa.Text(), nullable=False),
        *_timestamps(),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_folders"),
        _foreign_key("folders", "knowledge_base_id", "knowledge_bases"),
        _foreign_key("folders", "parent_id", "folders"),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_folders_display_name",
        "folders",
        ["organization_id", "knowledge_base_id", "parent_id", sa.text("lower(display_name)")],
        unique=True,
        schema=SCHEMA,
        postgresql_nulls_not_distinct=True,
    )
    op.create_index("ix_folders_organization_id_parent_id", "folders", ["organization_id", "parent_id"], schema=SCHEMA)


def _create_files() -> None:
    op.create_table(
        "files",
        *_key(),
        sa.Column("file_name", sa.Text(), nullable=False),
        *_stored_bytes(),
        *_timestamps(),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_files"),
        schema=SCHEMA,
    )


def _create_documents() -> None:
    op.create_table(
        "documents",
        *_key(),
        sa.Column("knowledge_base_id", sa.Uuid(), nullable=False),
        sa.Column("folder_id", sa.Uuid()),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failure_reason", sa.Text(), nullable=False),
        sa.Column("failure_message", sa.Text(), nullable=False),
        sa.Column("progress_percent", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        *_stored_bytes(),
        sa.Column("character_count", sa.Integer(), nullable=False),
        sa.Column("page_count", sa.Integer(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("token_count", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Uuid()),
        sa.Column("ready_time", _time()),
        *_timestamps(),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_documents"),
        _foreign_key("documents", "knowledge_base_id", "knowledge_bases"),
        _foreign_key("documents", "folder_id", "folders"),
        schema=SCHEMA,
    )
    for name, columns in (
        ("ix_documents_newest", ["organization_id", "knowledge_base_id", "create_time", "id"]),
        ("ix_documents_state", ["organization_id", "knowledge_base_id", "state"]),
        ("ix_documents_organization_id_folder_id", ["organization_id", "folder_id"]),
    ):
        op.create_index(name, "documents", columns, schema=SCHEMA)
    op.create_index(
        "ix_documents_unfinished",
        "documents",
        ["create_time"],
        schema=SCHEMA,
        postgresql_where=sa.text("state NOT IN ('READY', 'FAILED')"),
    )


def _create_document_texts() -> None:
    op.create_table(
        "document_texts",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("terms", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "document_id", name="pk_document_texts"),
        _foreign_key("document_texts", "document_id", "documents", ondelete="CASCADE"),
        schema=SCHEMA,
    )


def _create_chunks() -> None:
    op.create_table(
        "chunks",
        *_key(),
        sa.Column("knowledge_base_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("start_offset", sa.Integer(), nullable=False),
        sa.Column("end_offset", sa.Integer(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("heading_path", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("token_count", sa.Integer(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("embedding", HALFVEC(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_chunks"),
        _foreign_key("chunks", "document_id", "documents", ondelete="CASCADE"),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_chunks_ordinal", "chunks", ["organization_id", "document_id", "ordinal"], unique=True, schema=SCHEMA
    )
    op.create_index(
        "ix_chunks_organization_id_knowledge_base_id",
        "chunks",
        ["organization_id", "knowledge_base_id"],
        schema=SCHEMA,
    )
    # A vector stays in its row: a scan that had to fetch each one from beside the table would be twice as slow.
    op.execute("ALTER TABLE kb.chunks ALTER COLUMN embedding SET STORAGE PLAIN")


def _create_postings() -> None:
    op.create_table(
        "postings",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("knowledge_base_id", sa.Uuid(), nullable=False),
        sa.Column("term", sa.Text(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("greatest_frequency", sa.Integer(), nullable=False),
        sa.Column("least_length", sa.Integer(), nullable=False),
        sa.Column("ordinals", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("frequencies", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("lengths", postgresql.ARRAY(sa.Integer()), nullable=False),
        schema=SCHEMA,
    )
    # The statistics of a term are read from this index alone, without a visit to the table.
    op.execute(
        "ALTER TABLE kb.postings ADD CONSTRAINT pk_postings "
        "PRIMARY KEY (organization_id, knowledge_base_id, term, document_id) "
        "INCLUDE (chunk_count, greatest_frequency, least_length)"
    )


def _create_lexical_statistics() -> None:
    op.create_table(
        "lexical_statistics",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("knowledge_base_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_count", sa.BigInteger(), nullable=False),
        sa.Column("length_sum", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "knowledge_base_id", name="pk_lexical_statistics"),
        _foreign_key("lexical_statistics", "knowledge_base_id", "knowledge_bases", ondelete="CASCADE"),
        schema=SCHEMA,
    )


def _key() -> tuple[sa.Column[object], sa.Column[object]]:
    return sa.Column("organization_id", sa.Uuid(), nullable=False), sa.Column("id", sa.Uuid(), nullable=False)


def _stored_bytes() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
    )


def _timestamps() -> tuple[sa.Column[object], ...]:
    return tuple(
        sa.Column(name, _time(), nullable=False, server_default=sa.func.now())
        for name in ("create_time", "update_time")
    )


def _time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def _foreign_key(table: str, column: str, target: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["organization_id", column],
        [f"{SCHEMA}.{target}.organization_id", f"{SCHEMA}.{target}.id"],
        name=f"fk_{table}_organization_id_{column}",
        ondelete=ondelete,
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION kb.organizations_with_stranded_documents(timestamptz)")
    for table in reversed(TABLES):
        op.drop_table(table, schema=SCHEMA)
    chassis_ops.drop_shared(SCHEMA)
