"""What happens when a process dies, a job is cancelled, or a store lies."""

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from chassis.errors import FleetError
from chassis.rpc.caller import Actor, Caller
from chassis.servers.ports import free_ports
from chassis.storage import S3Storage
from chassis.testing import InProcessService, eventually, refused, start_service, storage_settings
from definable.jobs.v1 import job_service_pb2 as job_pb
from definable.jobs.v1.job_service_pb2_grpc import JobServiceStub
from definable.kb.v1 import document_service_pb2 as pb
from definable.kb.v1.events_pb2 import DocumentFailed, DocumentIndexed
from kb.adapters.embeddings.local import LocalTokenizer
from kb.adapters.parsing.capped import CappedParser
from kb.adapters.parsing.child import Limits
from kb.application.documents import NewDocument, begin
from kb.application.erasing import ScrubDocuments
from kb.application.ingest import IngestDocument
from kb.domain import ids
from kb.domain.errors import EmbeddingFailed, EmbeddingModelMismatch, StoredBytesDiffer
from kb.domain.ports import Vector
from kb.main import build
from kb.settings import KbSettings
from kb.unit_of_work import KbUnitOfWork

from .running import Kb  # noqa: TID252

ACTOR = Actor.service("kb")


class FixedEmbedder:
    """Gives every text the same vector; fails while `trouble` is set."""

    model = "all-MiniLM-L6-v2-int8/384"
    nano_usd_per_million_tokens = 20_000_000

    def __init__(self) -> None:
        self.trouble: Exception | None = None

    async def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        if self.trouble is not None:
            raise self.trouble
        return [[0.05] * 384 for _ in texts]

    async def embed_query(self, text: str) -> Vector:
        return [0.05] * 384


class HeldJob:
    """An attempt whose job nobody takes away, or, once `is_lost`, that another worker has."""

    def __init__(self, organization_id: UUID) -> None:
        self.organization_id = organization_id
        self.is_lost = False

    async def fence(self, work: KbUnitOfWork) -> None:
        if self.is_lost:
            raise RuntimeError("fenced")

    async def progress(self, done: int, total: int = 0, note: str = "") -> None:
        """Nobody listens."""


def an_ingest(kb: Kb, embedder: FixedEmbedder) -> IngestDocument:
    limits = Limits(cpu_seconds=5, memory_bytes=512 * 1024 * 1024, text_characters=1_000_000)
    return IngestDocument(
        kb.acquire,
        S3Storage(kb.service.settings.storage),
        parser=CappedParser(limits=limits, timeout=timedelta(seconds=20)),
        tokenizer=LocalTokenizer(),
        embedder=embedder,
    )


async def run_as_owner(kb: Kb, statement: str, **parameters: object) -> None:
    """Change rows past row-level security, as only the owner of the schema can."""
    engine = kb.owner_engine()
    async with engine.begin() as connection:
        await connection.execute(text(statement), parameters)
    await engine.dispose()


async def a_document_in_the_middle(kb: Kb, owner: Caller) -> tuple[str, UUID, HeldJob]:
    """Return base and id of a document whose ingest died while parsing, and an attempt to go on with it."""
    base = await kb.a_base(owner)
    document = await kb.a_ready_text(owner, base.id, "Herons wait for fish. Owls hunt.")
    document_id = ids.DOCUMENT.parse(document.id)
    await run_as_owner(
        kb, "UPDATE kb.documents SET state = 'PARSING', ready_time = NULL WHERE id = :id", id=document_id
    )
    assert owner.organization_id is not None
    return base.id, document_id, HeldJob(owner.organization_id)


class TestRepeatedIngest:
    async def test_replaces_and_never_adds(self, kb: Kb, owner: Caller) -> None:
        base, document_id, job = await a_document_in_the_middle(kb, owner)
        before = await kb.row_counts(ids.KNOWLEDGE_BASE.parse(base))

        for _ in range(2):
            await an_ingest(kb, FixedEmbedder())(job, document_id)
            await run_as_owner(kb, "UPDATE kb.documents SET state = 'EMBEDDING' WHERE id = :id", id=document_id)
        await an_ingest(kb, FixedEmbedder())(job, document_id)

        assert await kb.row_counts(ids.KNOWLEDGE_BASE.parse(base)) == before
        assert await statistics_are_true(kb, base)
        again = await kb.get(owner, ids.DOCUMENT.show(document_id))
        assert (again.state, again.version) == (pb.DOCUMENT_STATE_READY, 4)

    async def test_does_nothing_once_it_is_ready(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        document = await kb.a_ready_text(owner, base.id, "Herons wait.")
        assert owner.organization_id is not None

        await an_ingest(kb, FixedEmbedder())(HeldJob(owner.organization_id), ids.DOCUMENT.parse(document.id))

        assert (await kb.get(owner, document.id)).version == 1

    async def test_leaves_the_old_entry_when_it_dies_in_between(self, kb: Kb, owner: Caller) -> None:
        base, document_id, job = await a_document_in_the_middle(kb, owner)
        embedder = FixedEmbedder()
        embedder.trouble = EmbeddingFailed()
        before = await kb.row_counts(ids.KNOWLEDGE_BASE.parse(base))

        with pytest.raises(EmbeddingFailed):
            await an_ingest(kb, embedder)(job, document_id)

        assert await kb.row_counts(ids.KNOWLEDGE_BASE.parse(base)) == before

    async def test_writes_nothing_once_another_worker_has_the_job(self, kb: Kb, owner: Caller) -> None:
        _, document_id, job = await a_document_in_the_middle(kb, owner)
        embedder = FixedEmbedder()
        indexed = len(await kb.outbox.all(DocumentIndexed))

        async def lose_it(texts: Sequence[str]) -> list[Vector]:
            job.is_lost = True
            return [[0.05] * 384 for _ in texts]

        embedder.embed_passages = lose_it  # type: ignore[method-assign]  # a stand-in of this test's own
        with pytest.raises(RuntimeError, match="fenced"):
            await an_ingest(kb, embedder)(job, document_id)

        assert len(await kb.outbox.all(DocumentIndexed)) == indexed

    async def test_brings_nothing_of_a_deleted_document_back(self, kb: Kb, owner: Caller) -> None:
        base, document_id, job = await a_document_in_the_middle(kb, owner)
        embedder = FixedEmbedder()

        async def delete_it(texts: Sequence[str]) -> list[Vector]:
            await kb.documents(owner).DeleteDocument(pb.DeleteDocumentRequest(id=ids.DOCUMENT.show(document_id)))
            return [[0.05] * 384 for _ in texts]

        embedder.embed_passages = delete_it  # type: ignore[method-assign]  # a stand-in of this test's own
        await an_ingest(kb, embedder)(job, document_id)

        counts = await kb.row_counts(ids.KNOWLEDGE_BASE.parse(base))
        assert (counts["documents"], counts["chunks"], counts["postings"]) == (0, 0, 0)
        assert await statistics_are_true(kb, base)

    async def test_refuses_bytes_that_the_store_changed(self, kb: Kb, owner: Caller) -> None:
        _, document_id, job = await a_document_in_the_middle(kb, owner)
        await run_as_owner(kb, "UPDATE kb.documents SET sha256 = repeat('0', 64) WHERE id = :id", id=document_id)

        with pytest.raises(StoredBytesDiffer):
            await an_ingest(kb, FixedEmbedder())(job, document_id)

    async def test_mixes_no_vectors_of_two_models(self, kb: Kb, owner: Caller) -> None:
        _, document_id, job = await a_document_in_the_middle(kb, owner)
        embedder = FixedEmbedder()
        embedder.model = "another/384"

        with pytest.raises(EmbeddingModelMismatch):
            await an_ingest(kb, embedder)(job, document_id)


class TestStatistics:
    async def test_stay_true_under_adding_and_deleting_at_once(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner, language="simple")
        texts = [f"heron {'fish ' * (number % 4 + 1)} number {number}" for number in range(12)]
        made = await asyncio.gather(*(kb.a_text(owner, base.id, one) for one in texts))
        for document in made:
            await kb.ended(owner, document.id, state=pb.DOCUMENT_STATE_READY)

        deleted = made[::2]
        added, *_ = await asyncio.gather(
            kb.a_ready_text(owner, base.id, "heron again"),
            *(kb.documents(owner).DeleteDocument(pb.DeleteDocumentRequest(id=document.id)) for document in deleted),
        )

        assert added.state == pb.DOCUMENT_STATE_READY
        assert (await kb.row_counts(ids.KNOWLEDGE_BASE.parse(base.id)))["chunks"] == 7
        assert await statistics_are_true(kb, base.id)


class TestScrub:
    async def test_fails_an_upload_that_broke_off_in_a_crash(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        assert owner.organization_id is not None
        async with kb.acquire.as_organization(owner.organization_id, ACTOR) as work:
            left = await begin(work, NewDocument(ids.KNOWLEDGE_BASE.parse(base.id), title="Left"))
        shown = ids.DOCUMENT.show(left.id)

        await ScrubDocuments(kb.acquire, abandoned_after=timedelta(hours=1))()
        assert (await kb.get(owner, shown)).state == pb.DOCUMENT_STATE_PENDING
        await ScrubDocuments(kb.acquire, abandoned_after=timedelta(0))()

        document = await kb.get(owner, shown)
        assert (document.state, document.failure_reason) == (pb.DOCUMENT_STATE_FAILED, "UPLOAD_ABANDONED")
        assert (await kb.outbox.last(DocumentFailed)).document_id == shown
        with refused("DOCUMENT_WITHOUT_BYTES"):
            await kb.documents(owner).RetryDocument(pb.RetryDocumentRequest(id=shown))
        with refused("DOCUMENT_WITHOUT_BYTES"):
            async for _ in kb.documents(owner).DownloadDocument(pb.DownloadDocumentRequest(id=shown)):
                pass

    async def test_fails_a_document_whose_job_was_cancelled(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        document = await kb.a_ready_text(owner, base.id, "Herons wait.")
        document_id, job_id = ids.DOCUMENT.parse(document.id), ids.JOB.parse(document.job_id)
        await run_as_owner(kb, "UPDATE kb.documents SET state = 'PENDING' WHERE id = :id", id=document_id)
        await run_as_owner(kb, "UPDATE kb.jobs SET state = 'CANCELLED' WHERE id = :id", id=job_id)

        await ScrubDocuments(kb.acquire, abandoned_after=timedelta(hours=1))()

        failed = await kb.get(owner, document.id)
        assert failed.failure_reason == "INGEST_CANCELLED"
        assert await statistics_are_true(kb, base.id)


def environment_of(settings: KbSettings, port: int) -> dict[str, str]:
    """Return the environment in which `python -m kb serve` runs with these settings."""
    database, storage = settings.database, settings.storage
    return {
        **os.environ,
        "KB_GRPC__LISTEN": f"127.0.0.1:{port}",
        "KB_DATABASE__HOST": database.host,
        "KB_DATABASE__PORT": str(database.port),
        "KB_DATABASE__NAME": database.name,
        "KB_DATABASE__APP_PASSWORD": database.app_password.get_secret_value(),
        "KB_DATABASE__MACHINERY_PASSWORD": database.machinery_password.get_secret_value(),
        "KB_STORAGE__ENDPOINT_URL": storage.endpoint_url or "",
        "KB_STORAGE__BUCKET": storage.bucket,
        "KB_STORAGE__ACCESS_KEY": storage.access_key,
        "KB_STORAGE__SECRET_KEY": storage.secret_key.get_secret_value(),
        "KB_PEERS__AUTH": settings.peers["auth"],
        "KB_KEYS__PRIVATE_KEY_FILE": str(settings.keys.private_key_file),
    }


class TestCancelledIngest:
    async def test_fails_the_document(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        text = " ".join(f"Sentence number {number} speaks of herons." for number in range(3_000))
        document = await kb.a_text(owner, base.id, text)

        async def is_embedding() -> bool:
            return (await kb.get(owner, document.id)).state == pb.DOCUMENT_STATE_EMBEDDING

        await eventually(is_embedding, timeout=60)
        await kb.service.stub(JobServiceStub, owner).CancelJob(job_pb.CancelJobRequest(id=document.job_id))

        failed = await kb.ended(owner, document.id, state=pb.DOCUMENT_STATE_FAILED)
        assert failed.failure_reason == "INGEST_CANCELLED"
        assert not await kb.search(owner, [base.id], "herons")


class TestKilledProcess:
    @pytest.mark.slow
    async def test_another_process_goes_on_with_the_ingest(self, owner: Caller) -> None:
        async with start_service("kb", KbSettings, build, storage=storage_settings()) as prepared:
            settings, authority = prepared.settings, prepared.authority
            assert isinstance(settings, KbSettings)
            service = prepared.service
        (port,) = free_ports(1)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kb", "serve"), env=environment_of(settings, port)
        )
        killed = Kb(InProcessService("kb", port, service=service, settings=settings, authority=authority))
        try:
            base = await eventually(lambda: a_base_when_ready(killed, owner), timeout=60, every=0.5)
            text = " ".join(f"Sentence number {number} speaks of herons." for number in range(3_000))
            document = await killed.a_text(owner, base, text)

            async def is_embedding() -> bool:
                now = await killed.get(owner, document.id)
                return now.state == pb.DOCUMENT_STATE_EMBEDDING and now.progress_percent > 10

            await eventually(is_embedding, timeout=60)
        finally:
            process.kill()
            await process.wait()
            await killed.service.close()

        restarted = build(settings)
        running = Kb(
            InProcessService("kb", await restarted.start(), service=restarted, settings=settings, authority=authority)
        )
        try:
            await restarted.until_ready()
            assert (await running.get(owner, document.id)).state == pb.DOCUMENT_STATE_EMBEDDING
            again = await running.ended(owner, document.id, state=pb.DOCUMENT_STATE_READY, timeout=100)
            counts = await running.row_counts(ids.KNOWLEDGE_BASE.parse(base))
            assert counts["chunks"] == again.chunk_count > 100
            assert again.version == 1
            assert await statistics_are_true(running, base)
            assert len(await running.outbox.all(DocumentIndexed)) == 1
        finally:
            await running.service.close()
            await restarted.stop(1.0)

    async def test_a_job_can_be_watched(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        document = await kb.a_text(owner, base.id, "Herons wait for fish.")
        jobs = kb.service.stub(JobServiceStub, owner)

        async def has_succeeded() -> bool:
            job = await jobs.GetJob(job_pb.GetJobRequest(id=document.job_id))
            return bool(job.state == job_pb.JOB_STATE_SUCCEEDED)

        await eventually(has_succeeded, timeout=30)


async def a_base_when_ready(kb: Kb, owner: Caller) -> str:
    """Create a base, or return nothing while the process is still starting."""
    try:
        return (await kb.a_base(owner)).id
    except FleetError:
        return ""


async def statistics_are_true(kb: Kb, base: str) -> bool:
    """Compare the kept statistics of a base with what its chunks and postings say."""
    base_id = ids.KNOWLEDGE_BASE.parse(base)
    engine = kb.owner_engine()
    async with engine.connect() as connection:

        async def row(statement: str) -> tuple[int, ...]:
            found = (await connection.execute(text(statement), {"id": base_id})).one_or_none()
            return tuple(int(value or 0) for value in found) if found else (0, 0)

        kept = await row("SELECT chunk_count, length_sum FROM kb.lexical_statistics WHERE knowledge_base_id = :id")
        chunks = await row("SELECT count(*), sum(length) FROM kb.chunks WHERE knowledge_base_id = :id")
        posted = await row(
            "SELECT count(DISTINCT (document_id, ordinal)), sum(frequency) FROM kb.postings,"
            " unnest(ordinals, frequencies) AS b(ordinal, frequency) WHERE knowledge_base_id = :id"
        )
    await engine.dispose()
    assert kept == chunks == posted
    return True
