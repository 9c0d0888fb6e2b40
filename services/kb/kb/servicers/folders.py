"""FolderService."""

from typing import Any
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.data.unit_of_work import Acquire
from chassis.rpc.masks import masked
from definable.kb.v1 import folder_service_pb2 as pb
from definable.kb.v1.folder_service_pb2_grpc import FolderServiceServicer
from kb import convert, models
from kb.application import folders
from kb.domain import ids
from kb.repositories.resources import PageRequest
from kb.unit_of_work import KbUnitOfWork

Context = Any  # Any: grpc's generic context; nothing here looks into it


class Folders(FolderServiceServicer):
    """Serves folders."""

    def __init__(self, acquire: Acquire[KbUnitOfWork]) -> None:
        self._acquire = acquire

    async def CreateFolder(self, request: pb.CreateFolderRequest, context: Context) -> pb.Folder:
        asked = request.folder
        knowledge_base_id = ids.KNOWLEDGE_BASE.parse(asked.knowledge_base_id, field="folder.knowledge_base_id")
        parent_id = _parent(asked.parent_id, field="folder.parent_id")
        async with self._acquire() as work:
            folder = await folders.create(
                work, knowledge_base_id=knowledge_base_id, parent_id=parent_id, display_name=asked.display_name
            )
            return work.reply(await _packed(work, folder))

    async def ListFolders(self, request: pb.ListFoldersRequest, context: Context) -> pb.ListFoldersResponse:
        knowledge_base_id = ids.KNOWLEDGE_BASE.parse(request.knowledge_base_id, field="knowledge_base_id")
        parent_id = _parent(request.parent_id, field="parent_id")
        wanted = PageRequest(request.page_size, request.page_token)
        async with self._acquire() as work:
            page, way = await folders.listed(
                work, knowledge_base_id=knowledge_base_id, parent_id=parent_id, request=wanted
            )
            return pb.ListFoldersResponse(
                folders=[convert.folder(folder) for folder in page.items],
                next_page_token=page.next_page_token,
                breadcrumbs=convert.breadcrumbs(way),
            )

    async def GetFolder(self, request: pb.GetFolderRequest, context: Context) -> pb.Folder:
        folder_id = ids.FOLDER.parse(request.id)
        async with self._acquire() as work:
            return await _packed(work, await folders.get(work, folder_id))

    async def UpdateFolder(self, request: pb.UpdateFolderRequest, context: Context) -> pb.Folder:
        folder_id = ids.FOLDER.parse(request.folder.id, field="folder.id")
        changes = masked(request.folder, request.update_mask, allowed=("display_name",))
        async with self._acquire() as work:
            folder = await folders.get(work, folder_id)
            if changes:
                folder = await folders.rename(work, folder_id, display_name=changes["display_name"])
            return work.reply(await _packed(work, folder))

    async def MoveFolder(self, request: pb.MoveFolderRequest, context: Context) -> pb.Folder:
        folder_id = ids.FOLDER.parse(request.id)
        parent_id = _parent(request.parent_id, field="parent_id")
        async with self._acquire() as work:
            return work.reply(await _packed(work, await folders.move(work, folder_id, parent_id=parent_id)))

    async def DeleteFolder(self, request: pb.DeleteFolderRequest, context: Context) -> Empty:
        folder_id = ids.FOLDER.parse(request.id)
        async with self._acquire() as work:
            await folders.delete(work, folder_id)
            return work.reply(Empty())


def _parent(text: str, *, field: str) -> UUID | None:
    return ids.FOLDER.parse(text, field=field) if text else None


async def _packed(work: KbUnitOfWork, folder: models.Folder) -> pb.Folder:
    return convert.folder(folder, await folders.above(work, folder))
