"""The work behind the calls: how often each kind is tried, and what happens when it is given up."""

import asyncio
from datetime import timedelta
from typing import ClassVar

from chassis.messaging.background import Trouble
from chassis.messaging.jobs import JobCancelled, JobPolicy, RunningJob
from kb.application import documents, knowledge_bases
from kb.application.erasing import EraseKnowledgeBase, EraseObjects, ScrubDocuments
from kb.application.ingest import FailDocument, IngestDocument
from kb.domain import ids
from kb.domain.errors import DocumentUnusable, IngestCancelled, IngestFailed

SCRUB_PAUSE = timedelta(minutes=1)


class IngestDocumentJob:
    """Ingests a document; tells the document when that is given up."""

    kind: ClassVar[str] = documents.INGEST_JOB

    policy: ClassVar[JobPolicy] = JobPolicy(
        max_attempts=4, backoff=timedelta(seconds=1), lease=timedelta(seconds=15), concurrency=4
    )

    def __init__(self, ingest: IngestDocument, fail: FailDocument) -> None:
        self._ingest = ingest
        self._fail = fail

    async def run(self, job: RunningJob) -> None:
        """Ingest the document that the payload names."""
        try:
            await self._ingest(job, ids.DOCUMENT.parse(job.payload["document_id"]))
        except JobCancelled:
            await self.failed(job, IngestCancelled())
            raise

    async def failed(self, job: RunningJob, error: Exception) -> None:
        """Fail the document, with the error's reason where it has one for documents."""
        reason = error if isinstance(error, DocumentUnusable) else IngestFailed()
        await self._fail(job.organization_id, ids.DOCUMENT.parse(job.payload["document_id"]), reason)


class EraseObjectsJob:
    """Erases bytes of what was deleted."""

    kind: ClassVar[str] = documents.ERASE_JOB
    policy: ClassVar[JobPolicy] = JobPolicy(max_attempts=20, concurrency=2)

    def __init__(self, erase: EraseObjects) -> None:
        self._erase = erase

    async def run(self, job: RunningJob) -> None:
        """Erase the objects that the payload names."""
        await self._erase(job.payload["keys"])


class EraseKnowledgeBaseJob:
    """Erases a deleted base and all that is in it."""

    kind: ClassVar[str] = knowledge_bases.ERASE_JOB
    policy: ClassVar[JobPolicy] = JobPolicy(max_attempts=20)

    def __init__(self, erase: EraseKnowledgeBase) -> None:
        self._erase = erase

    async def run(self, job: RunningJob) -> None:
        """Erase the base that the payload names."""
        await self._erase(job.organization_id, ids.KNOWLEDGE_BASE.parse(job.payload["knowledge_base_id"]))


class Scrubber:
    """Runs the scrub every minute, beside the workers."""

    def __init__(self, scrub: ScrubDocuments, *, pause: timedelta = SCRUB_PAUSE) -> None:
        self._scrub = scrub
        self._pause_seconds = pause.total_seconds()

    async def run(self, stop: asyncio.Event) -> None:
        """Scrub until stopped; a database that is away is waited for."""
        trouble = Trouble("kb.scrub")
        while not stop.is_set():
            try:
                await self._scrub()
                trouble.worked()
            except Exception as error:  # noqa: BLE001 - a loop that ends for ever is worse than one that logs
                trouble.failed(error)
            try:
                await asyncio.wait_for(stop.wait(), self._pause_seconds)
            except TimeoutError:
                continue
