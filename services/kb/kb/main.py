"""What kb is made of."""

from chassis.data.database import Database
from chassis.rpc.client import Peers
from chassis.service import Service
from chassis.storage import S3Storage
from kb.adapters.embeddings import choice
from kb.adapters.embeddings.local import LocalTokenizer
from kb.adapters.parsing.capped import CappedParser
from kb.adapters.parsing.child import Limits
from kb.application import uploads
from kb.application.erasing import EraseKnowledgeBase, EraseObjects, ScrubDocuments
from kb.application.ingest import FailDocument, IngestDocument
from kb.application.search import SearchKnowledgeBases
from kb.jobs import EraseKnowledgeBaseJob, EraseObjectsJob, IngestDocumentJob, Scrubber
from kb.servicers.documents import Documents
from kb.servicers.files import Files
from kb.servicers.folders import Folders
from kb.servicers.knowledge_bases import KnowledgeBases
from kb.servicers.search import Search
from kb.settings import KbSettings, ParsingSettings
from kb.unit_of_work import KbUnitOfWork


def build(settings: KbSettings) -> Service:
    """Wire kb: adapters, units of work, servicers, jobs."""
    database = Database(settings.database, service=settings.name)
    acquire = KbUnitOfWork.factory(database)
    storage = S3Storage(settings.storage)
    tokenizer = LocalTokenizer(file=settings.embeddings.tokenizer_file)
    embedder = choice.from_settings(settings.embeddings, tokenizer)
    store = uploads.Store(storage, limit_bytes=settings.uploads.size_bytes)
    parser = _parser(settings.parsing)
    ingest = IngestDocument(acquire, storage, parser=parser, tokenizer=tokenizer, embedder=embedder)
    scrub = ScrubDocuments(acquire, abandoned_after=settings.uploads.abandoned_after)
    return Service(
        name=settings.name,
        settings=settings,
        database=database,
        peers=Peers(settings),
        unit_of_work=acquire,
        servicers=[
            KnowledgeBases(acquire, embedding_model=embedder.model),
            Folders(acquire),
            Files(acquire, uploads.Files(acquire, store)),
            Documents(acquire, uploads.UploadDocument(acquire, store), uploads.DownloadDocument(acquire, store)),
            Search(SearchKnowledgeBases(acquire, embedder)),
        ],
        jobs=[
            IngestDocumentJob(ingest, FailDocument(acquire)),
            EraseObjectsJob(EraseObjects(storage)),
            EraseKnowledgeBaseJob(EraseKnowledgeBase(acquire, storage)),
        ],
        background=[Scrubber(scrub)],
        readiness=[database.ping, storage.ensure_bucket],
    )


def _parser(settings: ParsingSettings) -> CappedParser:
    limits = Limits(settings.cpu_seconds, settings.memory_bytes, settings.text_characters)
    return CappedParser(limits=limits, timeout=settings.timeout)
