"""One unit of work of kb."""

from functools import cached_property
from typing import ClassVar

from chassis.data.unit_of_work import UnitOfWork
from kb.domain import errors
from kb.repositories.index import IndexRepository
from kb.repositories.resources import DocumentRepository, FileRepository, FolderRepository, KnowledgeBaseRepository
from kb.repositories.search import SearchRepository


class KbUnitOfWork(UnitOfWork):
    """The session, outbox and jobs of every service, and the repositories of this one."""

    constraint_errors: ClassVar = {
        "uq_knowledge_bases_display_name": errors.KnowledgeBaseNameTaken,
        "uq_folders_display_name": errors.FolderNameTaken,
        "fk_folders_organization_id_parent_id": errors.FolderNotFound,
        "fk_documents_organization_id_folder_id": errors.FolderNotFound,
    }

    @cached_property
    def knowledge_bases(self) -> KnowledgeBaseRepository:
        return KnowledgeBaseRepository(self.session, self.organization_id)

    @cached_property
    def folders(self) -> FolderRepository:
        return FolderRepository(self.session, self.organization_id)

    @cached_property
    def files(self) -> FileRepository:
        return FileRepository(self.session, self.organization_id)

    @cached_property
    def documents(self) -> DocumentRepository:
        return DocumentRepository(self.session, self.organization_id)

    @cached_property
    def index(self) -> IndexRepository:
        return IndexRepository(self.session, self.organization_id)

    @cached_property
    def search(self) -> SearchRepository:
        return SearchRepository(self.session, self.organization_id)
