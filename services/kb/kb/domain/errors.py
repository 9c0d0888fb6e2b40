"""What can go wrong in kb, once each; a test holds the reasons and `errors.proto` together."""

from chassis.errors import AlreadyExists, FailedPrecondition, Internal, InvalidArgument, NotFound, Unavailable


class KnowledgeBaseNotFound(NotFound):
    """There is no such knowledge base."""

    reason = "KNOWLEDGE_BASE_NOT_FOUND"


class KnowledgeBaseNameTaken(AlreadyExists):
    """Another knowledge base of the organization has this name."""

    reason = "KNOWLEDGE_BASE_NAME_TAKEN"


class ChunkOverlapTooLarge(InvalidArgument):
    """The overlap of chunks must not be more than half of their size."""

    reason = "CHUNK_OVERLAP_TOO_LARGE"


class FolderNotFound(NotFound):
    """There is no such folder."""

    reason = "FOLDER_NOT_FOUND"


class FolderNameTaken(AlreadyExists):
    """The parent holds another folder of this name."""

    reason = "FOLDER_NAME_TAKEN"


class FolderNotEmpty(FailedPrecondition):
    """The folder still holds folders or documents."""

    reason = "FOLDER_NOT_EMPTY"


class FolderCycle(FailedPrecondition):
    """A folder cannot be moved into itself or below itself."""

    reason = "FOLDER_CYCLE"


class FolderTooDeep(FailedPrecondition):
    """Folders cannot be nested that deeply."""

    reason = "FOLDER_TOO_DEEP"


class FileNotFound(NotFound):
    """There is no such file."""

    reason = "FILE_NOT_FOUND"


class FileTooLarge(InvalidArgument):
    """The file is larger than this installation takes."""

    reason = "FILE_TOO_LARGE"


class FileEmpty(InvalidArgument):
    """The file has no bytes."""

    reason = "FILE_EMPTY"


class FileHashMismatch(InvalidArgument):
    """The bytes do not have the SHA-256 that was announced."""

    reason = "FILE_HASH_MISMATCH"


class StoredBytesDiffer(Internal):
    """The store gave back other bytes than it took."""

    reason = "STORED_BYTES_DIFFER"


class UploadOutOfOrder(InvalidArgument):
    """The first message of an upload holds the metadata, every further one bytes."""

    reason = "UPLOAD_OUT_OF_ORDER"


class DocumentNotFound(NotFound):
    """There is no such document."""

    reason = "DOCUMENT_NOT_FOUND"


class DocumentNotFailed(FailedPrecondition):
    """Only failed documents can be retried."""

    reason = "DOCUMENT_NOT_FAILED"


class DocumentWithoutBytes(FailedPrecondition):
    """The upload of the document never ended."""

    reason = "DOCUMENT_WITHOUT_BYTES"


class DocumentNotReady(FailedPrecondition):
    """The document is not ready."""

    reason = "DOCUMENT_NOT_READY"


class MetadataTooLarge(InvalidArgument):
    """The metadata is larger than 16 KiB as JSON."""

    reason = "METADATA_TOO_LARGE"


class EmbeddingFailed(Unavailable):
    """The provider of embeddings refused or could not be reached."""

    reason = "EMBEDDING_FAILED"


class DocumentUnusable(FailedPrecondition):
    """The document cannot be ingested, whatever the number of attempts. The root of the reasons below."""

    reason = "INGEST_FAILED"


class FileCorrupt(DocumentUnusable):
    """The file is damaged, encrypted, or not what its format promises."""

    reason = "FILE_CORRUPT"


class ParseTimeout(DocumentUnusable):
    """Extracting the text took too long."""

    reason = "PARSE_TIMEOUT"


class ParseMemory(DocumentUnusable):
    """Extracting the text took too much memory."""

    reason = "PARSE_MEMORY"


class UnsupportedType(DocumentUnusable):
    """The format is not understood; txt, md, html, pdf and docx are."""

    reason = "UNSUPPORTED_TYPE"


class EmptyDocument(DocumentUnusable):
    """There is no text in the document."""

    reason = "EMPTY_DOCUMENT"


class TextTooLarge(DocumentUnusable):
    """The document holds more text than this installation takes."""

    reason = "TEXT_TOO_LARGE"


class UploadAbandoned(DocumentUnusable):
    """The bytes of the document did not arrive."""

    reason = "UPLOAD_ABANDONED"


class IngestFailed(DocumentUnusable):
    """The ingest failed several times; retry it later."""

    reason = "INGEST_FAILED"


class IngestCancelled(DocumentUnusable):
    """The ingest was cancelled."""

    reason = "INGEST_CANCELLED"


class EmbeddingModelMismatch(DocumentUnusable):
    """The knowledge base belongs to an embedding model that is not running."""

    reason = "EMBEDDING_MODEL_MISMATCH"
