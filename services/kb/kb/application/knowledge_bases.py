"""Use cases of knowledge bases."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from chassis.data.database import check_etag
from chassis.data.pagination import Page
from definable.kb.v1.events_pb2 import KnowledgeBaseCreated, KnowledgeBaseDeleted, KnowledgeBaseUpdated
from kb import models
from kb.domain import ids
from kb.domain.chunking import Chunking
from kb.domain.errors import KnowledgeBaseNameTaken, KnowledgeBaseNotFound
from kb.repositories.resources import Counts, PageRequest
from kb.unit_of_work import KbUnitOfWork

ERASE_JOB = "erase_knowledge_base"


async def create(
    work: KbUnitOfWork,
    *,
    display_name: str,
    description: str,
    language: str,
    chunking: Chunking,
    embedding_model: str,
) -> models.KnowledgeBase:
    """Create a knowledge base and announce it.

    Raises KnowledgeBaseNameTaken.
    """
    await _refuse_taken_name(work, display_name)
    base = work.knowledge_bases.add(
        models.KnowledgeBase(
            id=work.new_id(),
            display_name=display_name,
            description=description,
            language=language,
            chunk_size_tokens=chunking.size_tokens,
            chunk_overlap_tokens=chunking.overlap_tokens,
            embedding_model=embedding_model,
            create_time=work.now(),
            update_time=work.now(),
        )
    )
    await work.session.flush()
    target = ids.KNOWLEDGE_BASE.show(base.id)
    work.outbox.add(
        KnowledgeBaseCreated(knowledge_base_id=target), target=target, after=_content(base), revision=base.revision
    )
    return base


async def get(work: KbUnitOfWork, id: UUID) -> models.KnowledgeBase:
    """Return a knowledge base. Raises KnowledgeBaseNotFound."""
    base = await work.knowledge_bases.get(id)
    if base is None:
        raise KnowledgeBaseNotFound(id=ids.KNOWLEDGE_BASE.show(id))
    return base


async def held(work: KbUnitOfWork, id: UUID) -> models.KnowledgeBase:
    """Return a knowledge base that cannot be deleted before the unit ends. Raises KnowledgeBaseNotFound."""
    base = await work.knowledge_bases.held(id)
    if base is None:
        raise KnowledgeBaseNotFound(id=ids.KNOWLEDGE_BASE.show(id))
    return base


async def counted(work: KbUnitOfWork, base: models.KnowledgeBase) -> Counts:
    """Return what a base holds."""
    return (await work.knowledge_bases.counts([base.id]))[base.id]


async def listed(work: KbUnitOfWork, request: PageRequest) -> tuple[Page[models.KnowledgeBase], Mapping[UUID, Counts]]:
    """Return a page of bases, and what each holds."""
    page = await work.knowledge_bases.listed(request)
    return page, await work.knowledge_bases.counts([base.id for base in page.items])


async def update(work: KbUnitOfWork, id: UUID, changes: Mapping[str, Any]) -> models.KnowledgeBase:
    """Change `display_name` or `description`.

    Raises KnowledgeBaseNotFound, KnowledgeBaseNameTaken, EtagMismatch.
    """
    base = await get(work, id)
    check_etag(base)
    before = _content(base)
    if changes.get("display_name", base.display_name).lower() != base.display_name.lower():
        await _refuse_taken_name(work, changes["display_name"])
    for field, value in changes.items():
        setattr(base, field, value)
    base.update_time = work.now()
    await work.session.flush()
    target = ids.KNOWLEDGE_BASE.show(id)
    work.outbox.add(
        KnowledgeBaseUpdated(knowledge_base_id=target),
        target=target,
        before=before,
        after=_content(base),
        revision=base.revision,
    )
    return base


async def delete(work: KbUnitOfWork, id: UUID) -> None:
    """Take a base away from callers at once, and queue the job that erases it.

    Raises KnowledgeBaseNotFound, EtagMismatch.
    """
    base = await get(work, id)
    check_etag(base)
    base.delete_time = work.now()
    target = ids.KNOWLEDGE_BASE.show(id)
    work.jobs.enqueue(ERASE_JOB, {"knowledge_base_id": target}, target=target)
    work.outbox.add(KnowledgeBaseDeleted(knowledge_base_id=target), target=target, before=_content(base))


async def _refuse_taken_name(work: KbUnitOfWork, display_name: str) -> None:
    if await work.knowledge_bases.named(display_name):
        raise KnowledgeBaseNameTaken


def _content(base: models.KnowledgeBase) -> dict[str, object]:
    return {"display_name": base.display_name, "description": base.description, "language": base.language}
