"""FileService."""

from collections.abc import AsyncIterator
from typing import Any

from google.api.httpbody_pb2 import HttpBody  # type: ignore[import-untyped]  # Google ships no types for it
from google.protobuf.empty_pb2 import Empty

from chassis.data.unit_of_work import Acquire
from definable.kb.v1 import file_service_pb2 as pb
from definable.kb.v1.file_service_pb2_grpc import FileServiceServicer
from kb import convert
from kb.application import uploads
from kb.domain import ids
from kb.repositories.resources import PageRequest
from kb.servicers import streams
from kb.unit_of_work import KbUnitOfWork

Context = Any  # Any: grpc's generic context; nothing here looks into it


class Files(FileServiceServicer):
    """Serves files."""

    def __init__(self, acquire: Acquire[KbUnitOfWork], files: uploads.Files) -> None:
        self._acquire = acquire
        self._files = files

    async def UploadFile(self, request_iterator: streams.Requests, context: Context) -> pb.File:
        asked: pb.UploadFileMetadata = await streams.metadata_of(request_iterator)
        stored = await self._files.upload(
            streams.bytes_of(request_iterator),
            file_name=asked.file_name,
            sha256=asked.sha256,
            finish=lambda work, file: work.reply(convert.file(file)),
        )
        return convert.file(stored)

    async def ListFiles(self, request: pb.ListFilesRequest, context: Context) -> pb.ListFilesResponse:
        wanted = PageRequest(request.page_size, request.page_token, query=request.query)
        async with self._acquire() as work:
            page = await uploads.list_files(work, wanted)
            return pb.ListFilesResponse(
                files=[convert.file(file) for file in page.items], next_page_token=page.next_page_token
            )

    async def GetFile(self, request: pb.GetFileRequest, context: Context) -> pb.File:
        file_id = ids.FILE.parse(request.id)
        async with self._acquire() as work:
            return convert.file(await uploads.get_file(work, file_id))

    async def DeleteFile(self, request: pb.DeleteFileRequest, context: Context) -> Empty:
        file_id = ids.FILE.parse(request.id)
        async with self._acquire() as work:
            await uploads.delete_file(work, file_id)
            return work.reply(Empty())

    async def DownloadFile(self, request: pb.DownloadFileRequest, context: Context) -> AsyncIterator[HttpBody]:
        file, content = await self._files.download(ids.FILE.parse(request.id))
        async for body in streams.bodies(content, media_type=file.media_type):
            yield body
