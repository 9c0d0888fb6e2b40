"""The service behind the gateway in its tests: a real gRPC server of the library contract, and what it remembers."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import grpc_tools  # type: ignore[import-untyped]  # nor gRPC for its tools
from google.api import annotations_pb2  # type: ignore[import-untyped]  # Google ships no types for it
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from chassis.errors import AlreadyExists, EtagMismatch, FleetError, NotFound, ValidationFailed, Violation
from chassis.rpc.descriptors import packaged
from chassis.rpc.status import grpc_code, to_status, trailing_metadata
from gateway.operations import Table

SOURCES = Path(__file__).parent / "contracts"
PROTO = Path(__file__).parents[2] / "proto"
SERVICE = "definable.library.v1.BookService"


async def until(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Wait until something is so. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for is another's state
            await asyncio.sleep(0.005)


class BookNotFound(NotFound):
    """There is no such book."""

    reason = "BOOK_NOT_FOUND"


class BookTitleTaken(AlreadyExists):
    """Another book has this title."""

    reason = "BOOK_TITLE_TAKEN"


class ReadingNotFound(NotFound):
    """There is no such reading."""

    reason = "READING_NOT_FOUND"


@cache
def compiled(change: tuple[str, str] = ("", "")) -> FileDescriptorSet:
    """Compile the library's contract; `change` replaces a text of it, for another version of the service."""
    tools = Path(grpc_tools.__file__).parent / "_proto"
    google = Path(str(annotations_pb2.__file__)).parents[2]
    with TemporaryDirectory() as folder:
        for source in SOURCES.rglob("*.proto"):
            target = Path(folder) / source.relative_to(SOURCES)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text()
            assert not change[0] or change[0] in text or source.name == "errors.proto"
            target.write_text(text.replace(change[0], change[1]) if change[0] else text)
        output = Path(folder) / "set.binpb"
        run(
            [
                sys.executable, "-m", "grpc_tools.protoc",
                *(f"-I{path}" for path in (folder, PROTO, PROTO / "third_party", google, tools)),
                f"--descriptor_set_out={output}", "--include_source_info", "--include_imports",
                *(str(path.relative_to(SOURCES)) for path in sorted(SOURCES.rglob("*.proto"))),
            ],
            check=True,
            cwd=folder,
        )  # fmt: skip
        return FileDescriptorSet.FromString(output.read_bytes())


@cache
def library_table() -> Table:
    """Return the routes of the fleet's own contracts and the library's."""
    known = {file.name for file in packaged().file}
    added = [file for file in compiled().file if file.name not in known]
    return Table(FileDescriptorSet(file=[*packaged().file, *added]))


class Library:
    """Books in memory. What arrives is kept, so that tests can look at it."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.books: dict[str, Any] = {}
        self.requests: list[Any] = []
        self.metadata: dict[str, str] = {}
        self.replies: dict[str, Any] = {}
        self.offered = compiled()
        self.version = "1"
        self.readings: dict[str, Any] = {}
        self.open_streams = 0
        self.upload_limit: int | None = None
        self.breaks_downloads = False
        self.begins_readings = True
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self.port = 0

    async def start(self, port: int = 0) -> str:
        """Serve; returns host:port."""
        self._server = grpc.aio.server()
        service = self.table.pool.FindServiceByName(SERVICE)
        handlers = {}
        for method in service.methods:
            operation = self.table.by_rpc[method.full_name]
            make = {
                (False, False): grpc.unary_unary_rpc_method_handler,
                (False, True): grpc.unary_stream_rpc_method_handler,
                (True, False): grpc.stream_unary_rpc_method_handler,
            }[method.client_streaming, method.server_streaming]
            answer = getattr(self, method.name)
            wrapped = self._streaming(answer) if method.server_streaming else self._answering(answer)
            handlers[method.name] = make(
                wrapped,
                request_deserializer=operation.request_class.FromString,
                response_serializer=operation.reply_class.SerializeToString,
            )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, handlers),
                grpc.method_handlers_generic_handler("definable.discovery.v1.Discovery", self._discovery()),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        await self._server.start()
        return f"127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Go down, at once."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def _discovery(self) -> dict[str, Any]:
        from definable.discovery.v1 import discovery_pb2 as pb

        async def get(request: Any, context: Any) -> Any:
            content = self.offered.SerializeToString()
            return pb.GetDescriptorsResponse(descriptor_set=content, service="library", version=self.version)

        handler = grpc.unary_unary_rpc_method_handler(
            get,
            request_deserializer=pb.GetDescriptorsRequest.FromString,
            response_serializer=pb.GetDescriptorsResponse.SerializeToString,
        )
        return {"GetDescriptors": handler}

    def _answering(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        async def handle(request: Any, context: Any) -> Any:
            self.metadata = dict(context.invocation_metadata() or ())
            try:
                return await answer(request, context)
            except FleetError as error:
                await _abort(context, error)

        return handle

    def _streaming(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        async def handle(request: Any, context: Any) -> Any:
            self.metadata = dict(context.invocation_metadata() or ())
            self.open_streams += 1
            try:
                async for message in answer(request, context):
                    yield message
            except FleetError as error:
                await _abort(context, error)
            finally:
                self.open_streams -= 1

        return handle

    def message(self, rpc: str, **fields: Any) -> Any:
        """Make a reply of an RPC."""
        return self.table.by_rpc[f"{SERVICE}.{rpc}"].reply_class(**fields)

    async def CreateBook(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        key = self.metadata.get("idempotency-key", "")
        if key in self.replies:
            context.set_trailing_metadata((("idempotent-replayed", "true"),))
            return self.replies[key]
        if not 1 <= len(request.book.title) <= 100:
            raise ValidationFailed([Violation("book.title", "must have 1 to 100 characters", "string")])
        if any(book.title == request.book.title for book in self.books.values()):
            raise BookTitleTaken(title=request.book.title)
        book = type(request.book)()
        book.CopyFrom(request.book)
        book.id = f"book_{len(self.books) + 1}"
        book.etag = "e1"
        self.books[book.id] = book
        if key:
            self.replies[key] = book
        return book

    async def GetBook(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        if request.id == "book_slow":
            await asyncio.sleep(60)
        if request.id == "book_broken":
            raise RuntimeError("SELECT secret FROM books")
        return self._found(request.id)

    def _found(self, book_id: str) -> Any:
        if book_id not in self.books:
            raise BookNotFound(id=book_id)
        return self.books[book_id]

    async def ListBooks(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return self.message("ListBooks", books=self.books.values())

    async def UpdateBook(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        book = self._found(request.book.id)
        if self.metadata.get("if-match", book.etag) != book.etag:
            raise EtagMismatch()
        return book

    async def DeleteBook(self, request: Any, context: Any) -> Any:
        del self.books[self._found(request.id).id]
        return self.message("DeleteBook")

    async def ArchiveBook(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return self._found(request.id)

    async def ShowCall(self, request: Any, context: Any) -> Any:
        return self.message("ShowCall", metadata=self.metadata)

    async def UploadBook(self, requests: AsyncIterator[Any], context: Any) -> Any:
        digest, size, pieces, metadata = hashlib.sha256(), 0, 0, None
        async for request in requests:
            if metadata is None:
                metadata = request.metadata
                continue
            digest.update(request.chunk)
            size, pieces = size + len(request.chunk), pieces + 1
            if self.upload_limit is not None and size > self.upload_limit:
                raise ValidationFailed([Violation("metadata.file_name", "is too large", "size")])
        return self.message("UploadBook", metadata=metadata, size_bytes=size, sha256=digest.hexdigest(), pieces=pieces)

    async def DownloadBook(self, request: Any, context: Any) -> AsyncIterator[Any]:
        book = self._found(request.id)
        await context.send_initial_metadata((("x-file-name", "B%C3%BCcher.txt"),))
        for piece in (book.title.encode(), b"!" * 100_000):
            yield self.message("DownloadBook", content_type="text/plain", data=piece)
            if self.breaks_downloads:
                raise BookNotFound(id=request.id)

    async def StartReading(self, request: Any, context: Any) -> Any:
        reading_id = f"reading_{len(self.readings) + 1}"
        if self.begins_readings:
            self.readings[reading_id] = request
        return self.message("StartReading", reading_id=reading_id)

    async def WatchReading(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        reading = self.readings.get(request.reading_id)
        if reading is None:
            raise ReadingNotFound(id=request.reading_id)
        for seq in range(request.after + 1, reading.words + 1):
            await asyncio.sleep(reading.pause / 1000)
            event = self.message("WatchReading", seq=seq, type="word" if seq < reading.words else "end")
            event.data.update({"text": f"word {seq}", "n": seq})
            yield event


async def _abort(context: Any, error: FleetError) -> None:
    status = to_status(error)
    context.set_trailing_metadata(trailing_metadata(status))
    await context.abort(grpc_code(error.code), error.message)
