"""Erasing what was deleted, and failing what nobody will finish."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from chassis.data.unit_of_work import Acquire
from chassis.storage import Storage
from kb.application import documents
from kb.application.ingest import ACTOR
from kb.domain.errors import IngestCancelled, UploadAbandoned
from kb.repositories.resources import get_organizations_with_stranded_documents
from kb.unit_of_work import KbUnitOfWork

_BATCH = 50


class EraseObjects:
    """Erases bytes whose row is gone."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def __call__(self, keys: Sequence[str]) -> None:
        """Delete objects from the store; those that are not there are fine."""
        for key in keys:
            await self._storage.delete(key)


class EraseKnowledgeBase:
    """Erases a deleted base: bytes, index, documents, folders, and at last its row."""

    def __init__(self, acquire: Acquire[KbUnitOfWork], storage: Storage) -> None:
        self._acquire = acquire
        self._storage = storage

    async def __call__(self, organization_id: UUID, knowledge_base_id: UUID) -> None:
        """Erase a base batch by batch; run again after a crash it goes on where it was."""
        while keys := await self._keys(organization_id, knowledge_base_id):
            # Bytes first: a row that is still there finds them again, bytes without a row nobody would.
            for key in keys:
                await self._storage.delete(key)
            await self._erase_documents(organization_id, knowledge_base_id, keys)
        async with self._acquire.as_organization(organization_id, ACTOR) as work:
            base = await work.knowledge_bases.deleted(knowledge_base_id)
            if base is not None:
                await work.index.remove_all(knowledge_base_id=knowledge_base_id)
                await work.folders.erase(knowledge_base_id)
                await work.knowledge_bases.delete(base)

    async def _keys(self, organization_id: UUID, knowledge_base_id: UUID) -> list[str]:
        async with self._acquire.as_organization(organization_id, ACTOR) as work:
            found = await work.documents.to_erase(knowledge_base_id, limit=_BATCH)
            return [document.object_key for document in found]

    async def _erase_documents(self, organization_id: UUID, knowledge_base_id: UUID, keys: Sequence[str]) -> None:
        async with self._acquire.as_organization(organization_id, ACTOR) as work:
            for document in await work.documents.to_erase(knowledge_base_id, keys=keys, limit=_BATCH):
                await documents.erase(work, document)


class ScrubDocuments:
    """Fails documents that nobody works on: an upload that broke off in a crash, an ingest that was cancelled."""

    def __init__(self, acquire: Acquire[KbUnitOfWork], *, abandoned_after: timedelta) -> None:
        self._acquire = acquire
        self._abandoned_after = abandoned_after

    async def __call__(self) -> int:
        """Look through all organizations; return how many documents were failed."""
        async with self._acquire.anonymous() as work:
            older_than = work.now() - self._abandoned_after
            organizations = await get_organizations_with_stranded_documents(work.session, older_than=older_than)
        return sum([await self._scrub(organization_id) for organization_id in organizations])

    async def _scrub(self, organization_id: UUID) -> int:
        async with self._acquire.as_organization(organization_id, ACTOR) as work:
            stranded = await work.documents.stranded(older_than=work.now() - self._abandoned_after)
            for document in stranded:
                error = IngestCancelled() if document.sha256 else UploadAbandoned()
                await documents.fail(work, document.id, error)
            return len(stranded)
