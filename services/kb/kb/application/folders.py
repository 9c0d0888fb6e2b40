"""Use cases of folders."""

from collections.abc import Sequence
from uuid import UUID

from chassis.data.database import check_etag
from chassis.data.pagination import Page
from definable.kb.v1.events_pb2 import FolderCreated, FolderDeleted, FolderMoved, FolderUpdated
from kb import models
from kb.application import knowledge_bases
from kb.domain import ids
from kb.domain.errors import FolderCycle, FolderNameTaken, FolderNotEmpty, FolderNotFound, FolderTooDeep
from kb.repositories.resources import PageRequest
from kb.unit_of_work import KbUnitOfWork

DEEPEST_LEVEL = 20


async def create(
    work: KbUnitOfWork, *, knowledge_base_id: UUID, parent_id: UUID | None, display_name: str
) -> models.Folder:
    """Create a folder at the top of a base or below another.

    Raises KnowledgeBaseNotFound, FolderNotFound, FolderNameTaken, FolderTooDeep.
    """
    await knowledge_bases.held(work, knowledge_base_id)
    await _check_place(work, knowledge_base_id, parent_id, display_name, height=1)
    folder = work.folders.add(
        models.Folder(
            id=work.new_id(),
            knowledge_base_id=knowledge_base_id,
            parent_id=parent_id,
            display_name=display_name,
            create_time=work.now(),
            update_time=work.now(),
        )
    )
    await work.session.flush()
    work.outbox.add(FolderCreated(**_named(folder)), target=_target(folder), after=_content(folder))
    return folder


async def get(work: KbUnitOfWork, id: UUID) -> models.Folder:
    """Return a folder of a base that is not deleted. Raises FolderNotFound."""
    folder = await work.folders.get(id)
    if folder is None or await work.knowledge_bases.get(folder.knowledge_base_id) is None:
        raise FolderNotFound(id=ids.FOLDER.show(id))
    return folder


async def get_in(work: KbUnitOfWork, id: UUID, *, knowledge_base_id: UUID) -> models.Folder:
    """Return a folder of a given base. Raises FolderNotFound."""
    folder = await work.folders.get(id)
    if folder is None or folder.knowledge_base_id != knowledge_base_id:
        raise FolderNotFound(id=ids.FOLDER.show(id))
    return folder


async def above(work: KbUnitOfWork, folder: models.Folder) -> Sequence[models.Folder]:
    """Return the folders above one, outermost first."""
    return (await work.folders.path(folder.id))[:-1]


async def listed(
    work: KbUnitOfWork, *, knowledge_base_id: UUID, parent_id: UUID | None, request: PageRequest
) -> tuple[Page[models.Folder], Sequence[models.Folder]]:
    """Return a page of the folders below a parent, and the way from the top to that parent.

    Raises KnowledgeBaseNotFound, FolderNotFound.
    """
    await knowledge_bases.get(work, knowledge_base_id)
    way: Sequence[models.Folder] = ()
    if parent_id is not None:
        await get_in(work, parent_id, knowledge_base_id=knowledge_base_id)
        way = await work.folders.path(parent_id)
    return await work.folders.below(knowledge_base_id, parent_id, request), way


async def rename(work: KbUnitOfWork, id: UUID, *, display_name: str) -> models.Folder:
    """Rename a folder. Raises FolderNotFound, FolderNameTaken, EtagMismatch."""
    folder = await get(work, id)
    check_etag(folder)
    if display_name.lower() != folder.display_name.lower():
        await _refuse_taken_name(work, folder.knowledge_base_id, folder.parent_id, display_name)
    before = _content(folder)
    folder.display_name = display_name
    folder.update_time = work.now()
    await work.session.flush()
    work.outbox.add(
        FolderUpdated(**_named(folder)),
        target=_target(folder),
        before=before,
        after=_content(folder),
        revision=folder.revision,
    )
    return folder


async def move(work: KbUnitOfWork, id: UUID, *, parent_id: UUID | None) -> models.Folder:
    """Move a folder, with everything below it, to another parent of the same base.

    Raises FolderNotFound, FolderNameTaken, FolderTooDeep, FolderCycle.
    """
    folder = await get(work, id)
    # Two moves at once could close a circle that neither sees, so a base has one move at a time.
    await work.lock("folders", folder.knowledge_base_id)
    if parent_id is not None and id in [one.id for one in await work.folders.path(parent_id)]:
        raise FolderCycle
    if parent_id != folder.parent_id:
        height = await work.folders.height(id)
        await _check_place(work, folder.knowledge_base_id, parent_id, folder.display_name, height=height)
    before = _content(folder)
    folder.parent_id = parent_id
    folder.update_time = work.now()
    await work.session.flush()
    moved = FolderMoved(**_named(folder), parent_id=ids.FOLDER.show(parent_id) if parent_id else "")
    work.outbox.add(moved, target=_target(folder), before=before, after=_content(folder), revision=folder.revision)
    return folder


async def delete(work: KbUnitOfWork, id: UUID) -> None:
    """Delete an empty folder. Raises FolderNotFound, FolderNotEmpty, EtagMismatch."""
    folder = await get(work, id)
    check_etag(folder)
    if not await work.folders.is_empty(id):
        raise FolderNotEmpty
    await work.folders.delete(folder)
    work.outbox.add(FolderDeleted(**_named(folder)), target=_target(folder), before=_content(folder))


async def _check_place(
    work: KbUnitOfWork, knowledge_base_id: UUID, parent_id: UUID | None, display_name: str, *, height: int
) -> None:
    above_it = 0
    if parent_id is not None:
        await get_in(work, parent_id, knowledge_base_id=knowledge_base_id)
        above_it = len(await work.folders.path(parent_id))
    if above_it + height > DEEPEST_LEVEL:
        raise FolderTooDeep(levels=DEEPEST_LEVEL)
    await _refuse_taken_name(work, knowledge_base_id, parent_id, display_name)


async def _refuse_taken_name(
    work: KbUnitOfWork, knowledge_base_id: UUID, parent_id: UUID | None, display_name: str
) -> None:
    if await work.folders.named(knowledge_base_id, parent_id, display_name):
        raise FolderNameTaken


def _named(folder: models.Folder) -> dict[str, str]:
    return {"folder_id": _target(folder), "knowledge_base_id": ids.KNOWLEDGE_BASE.show(folder.knowledge_base_id)}


def _target(folder: models.Folder) -> str:
    return ids.FOLDER.show(folder.id)


def _content(folder: models.Folder) -> dict[str, object]:
    return {"display_name": folder.display_name, "parent_id": str(folder.parent_id or "")}
