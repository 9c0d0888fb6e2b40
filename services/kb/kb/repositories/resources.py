"""Knowledge bases, folders, files and documents as rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, func, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from chassis.data.pagination import Order, Page
from chassis.data.repository import Repository
from chassis.data.tables import JOBS
from kb import models


@dataclass(frozen=True, slots=True)
class Counts:
    """What a base holds, by state, and the bytes of all originals."""

    documents: int = 0
    ready: int = 0
    failed: int = 0
    chunks: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a list a caller wants, how ordered: "title desc"; and only names with `query` in them."""

    size: int = 0
    token: str = ""
    order_by: str = ""
    query: str = ""


class KnowledgeBaseRepository(Repository[models.KnowledgeBase]):
    """Bases that are not deleted, unless a method says otherwise."""

    model = models.KnowledgeBase

    def query(self) -> Select[models.KnowledgeBase]:
        """Return a select of the organization's bases that callers may see."""
        return super().query().where(models.KnowledgeBase.delete_time.is_(None))

    async def held(self, id: UUID) -> models.KnowledgeBase | None:
        """Return a base that nobody deletes before this transaction ends."""
        return await self.first(self.query().where(models.KnowledgeBase.id == id).with_for_update(read=True))

    async def named(self, display_name: str) -> models.KnowledgeBase | None:
        """Return the base of this name, compared without case."""
        return await self.first(
            self.query().where(func.lower(models.KnowledgeBase.display_name) == display_name.lower())
        )

    async def listed(self, request: PageRequest) -> Page[models.KnowledgeBase]:
        """Return a page of bases."""
        statement = self.query()
        if request.query:
            statement = statement.where(models.KnowledgeBase.display_name.icontains(request.query, autoescape=True))
        return await self.page(
            statement,
            order=_order(request.order_by, models.KnowledgeBase.create_time, models.KnowledgeBase.display_name),
            page_size=request.size,
            page_token=request.token,
            filter_key=request.query,
        )

    async def among(self, ids: Sequence[UUID]) -> dict[UUID, models.KnowledgeBase]:
        """Return those of the bases that exist, by id."""
        return {base.id: base for base in await self.all(self.query().where(models.KnowledgeBase.id.in_(ids)))}

    async def counts(self, ids: Sequence[UUID]) -> dict[UUID, Counts]:
        """Return what each of the bases holds; all zero where it holds nothing."""
        document = models.Document
        statement = (
            select(
                document.knowledge_base_id,
                func.count(),
                func.count().filter(document.state == "READY"),
                func.count().filter(document.state == "FAILED"),
                func.coalesce(func.sum(document.chunk_count), 0),
                func.coalesce(func.sum(document.size_bytes), 0),
            )
            .where(document.organization_id == self.organization_id, document.knowledge_base_id.in_(ids))
            .group_by(document.knowledge_base_id)
        )
        found = {row[0]: Counts(*map(int, row[1:])) for row in await self.session.execute(statement)}
        return {base_id: found.get(base_id, Counts()) for base_id in ids}

    async def deleted(self, id: UUID) -> models.KnowledgeBase | None:
        """Return a base that waits to be erased."""
        statement = super().query().where(models.KnowledgeBase.id == id, models.KnowledgeBase.delete_time.is_not(None))
        return await self.first(statement)


class FolderRepository(Repository[models.Folder]):
    """Folders of the organization's bases."""

    model = models.Folder

    async def below(self, knowledge_base_id: UUID, parent_id: UUID | None, request: PageRequest) -> Page[models.Folder]:
        """Return a page of the folders directly below a parent, by name."""
        folder = models.Folder
        return await self.page(
            self.query().where(
                folder.knowledge_base_id == knowledge_base_id, folder.parent_id.is_not_distinct_from(parent_id)
            ),
            order=[(folder.display_name, "asc")],
            page_size=request.size,
            page_token=request.token,
            filter_key=f"{knowledge_base_id}/{parent_id}",
        )

    async def named(self, knowledge_base_id: UUID, parent_id: UUID | None, display_name: str) -> models.Folder | None:
        """Return the folder of this name below a parent, compared without case."""
        folder = models.Folder
        return await self.first(
            self.query().where(
                folder.knowledge_base_id == knowledge_base_id,
                folder.parent_id.is_not_distinct_from(parent_id),
                func.lower(folder.display_name) == display_name.lower(),
            )
        )

    async def path(self, id: UUID) -> list[models.Folder]:
        """Return a folder and those above it, outermost first."""
        start = (
            select(models.Folder.id, models.Folder.parent_id, literal(0).label("height"))
            .where(models.Folder.organization_id == self.organization_id, models.Folder.id == id)
            .cte("path", recursive=True)
        )
        above = aliased(models.Folder)
        path = start.union_all(
            select(above.id, above.parent_id, start.c.height + 1).where(
                above.organization_id == self.organization_id, above.id == start.c.parent_id
            )
        )
        statement = self.query().join(path, path.c.id == models.Folder.id).order_by(path.c.height.desc())
        return list(await self.all(statement))

    async def height(self, id: UUID) -> int:
        """Return how many levels of folders a folder makes with those below it; 1 without any."""
        top = (
            select(models.Folder.id, literal(1).label("level"))
            .where(models.Folder.organization_id == self.organization_id, models.Folder.id == id)
            .cte("tree", recursive=True)
        )
        below = aliased(models.Folder)
        tree = top.union_all(
            select(below.id, top.c.level + 1).where(
                below.organization_id == self.organization_id, below.parent_id == top.c.id
            )
        )
        return int(await self.session.scalar(select(func.max(tree.c.level))) or 1)

    async def is_empty(self, id: UUID) -> bool:
        """Tell whether a folder holds neither folders nor documents."""
        folder, document = models.Folder, models.Document
        inside = exists().where(
            folder.organization_id == self.organization_id, folder.parent_id == id
        ) | exists().where(document.organization_id == self.organization_id, document.folder_id == id)
        return not await self.session.scalar(select(inside))

    async def erase(self, knowledge_base_id: UUID) -> None:
        """Delete all folders of a base."""
        # One statement, so that the parent's key is checked when all of them are gone.
        await self.session.execute(
            models.Folder.__table__.delete().where(  # type: ignore[attr-defined]  # declared as FromClause, is a Table
                models.Folder.organization_id == self.organization_id,
                models.Folder.knowledge_base_id == knowledge_base_id,
            )
        )


class FileRepository(Repository[models.File]):
    """Files of the organization."""

    model = models.File

    async def listed(self, request: PageRequest) -> Page[models.File]:
        """Return a page of files, newest first."""
        statement = self.query()
        if request.query:
            statement = statement.where(models.File.file_name.icontains(request.query, autoescape=True))
        return await self.page(
            statement,
            order=[(models.File.create_time, "desc")],
            page_size=request.size,
            page_token=request.token,
            filter_key=request.query,
        )


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Which documents of a base a list shows. `folder_id` None with `is_folder_given` means those in no folder."""

    knowledge_base_id: UUID
    state: str = ""
    is_folder_given: bool = False
    folder_id: UUID | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the filter as SQL."""
        document = models.Document
        conditions: list[ColumnElement[bool]] = [document.knowledge_base_id == self.knowledge_base_id]
        if self.state:
            conditions.append(document.state == self.state)
        if self.is_folder_given:
            conditions.append(document.folder_id.is_not_distinct_from(self.folder_id))
        return conditions


class DocumentRepository(Repository[models.Document]):
    """Documents of bases that are not deleted, unless a method says otherwise."""

    model = models.Document

    def query(self) -> Select[models.Document]:
        """Return a select of the organization's documents that callers may see."""
        base = models.KnowledgeBase
        gone = exists().where(
            base.organization_id == self.organization_id,
            base.id == models.Document.knowledge_base_id,
            base.delete_time.is_not(None),
        )
        return super().query().where(~gone)

    async def locked(self, id: UUID) -> models.Document | None:
        """Return a document that nobody else changes before this transaction ends."""
        # Of the document only: the base is merely looked at.
        statement = self.query().where(models.Document.id == id).with_for_update(of=models.Document)
        return await self.first(statement.execution_options(populate_existing=True))

    async def listed(self, filter: DocumentFilter, request: PageRequest) -> Page[models.Document]:
        """Return a page of documents."""
        statement = self.query().where(*filter.conditions())
        if request.query:
            statement = statement.where(models.Document.title.icontains(request.query, autoescape=True))
        return await self.page(
            statement,
            order=_order(request.order_by, models.Document.create_time, models.Document.title),
            page_size=request.size,
            page_token=request.token,
            filter_key=f"{filter}/{request.query}",
        )

    async def set_progress(self, id: UUID, percent: int) -> None:
        """Write how far an ingest is, without a new revision: nobody's etag is spoiled by a percent."""
        await self.session.execute(
            update(models.Document)
            .where(models.Document.organization_id == self.organization_id, models.Document.id == id)
            .values(progress_percent=percent, update_time=models.Document.update_time)
            .execution_options(synchronize_session=False)
        )

    async def to_erase(
        self, knowledge_base_id: UUID, *, limit: int, keys: Sequence[str] | None = None
    ) -> Sequence[models.Document]:
        """Return some documents of a base, deleted or not; with `keys`, those whose bytes they name."""
        statement = super().query().where(models.Document.knowledge_base_id == knowledge_base_id)
        if keys is not None:
            statement = statement.where(models.Document.object_key.in_(keys)).with_for_update(of=models.Document)
        return await self.all(statement.order_by(models.Document.id).limit(limit))

    async def stranded(self, *, older_than: datetime) -> Sequence[models.Document]:
        """Return documents that nobody works on: without bytes for long, or with a job that ended otherwise."""
        document = models.Document
        ended = exists().where(JOBS.c.id == document.job_id, JOBS.c.state.in_(["CANCELLED", "FAILED"]))
        statement = self.query().where(
            document.state.not_in(["READY", "FAILED"]),
            ((document.sha256 == "") & (document.create_time < older_than)) | ended,
        )
        return await self.all(statement.with_for_update(of=document, skip_locked=True).limit(500))

    async def text(self, id: UUID, *, start: int, end: int) -> tuple[str, int] | None:
        """Return the characters [start, end) of a document's text, and how many it has in all."""
        stored = models.DocumentText
        statement = select(
            func.substr(stored.text, start + 1, max(end - start, 0)), func.char_length(stored.text)
        ).where(stored.organization_id == self.organization_id, stored.document_id == id)
        row = (await self.session.execute(statement)).first()
        return (row[0], row[1]) if row is not None else None


async def get_organizations_with_stranded_documents(session: AsyncSession, *, older_than: datetime) -> Sequence[UUID]:
    """Return whose documents nobody works on, across organizations: their ids and nothing else."""
    statement = text("SELECT * FROM kb.organizations_with_stranded_documents(:older_than)")
    return (await session.scalars(statement, {"older_than": older_than})).all()


def _order(order_by: str, time: InstrumentedAttribute[datetime], name: InstrumentedAttribute[str]) -> Order:
    column, _, direction = (order_by or "create_time desc").partition(" ")
    return [(time if column == "create_time" else name, "desc" if direction else "asc")]
