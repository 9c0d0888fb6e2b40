"""Uploads and downloads: bytes pass through, nothing is kept."""

import asyncio
from typing import Any, Final
from urllib.parse import quote

import grpc

from chassis import telemetry
from chassis.errors import FleetError
from gateway.bodies import Upload, open_upload
from gateway.exchange import Exchange
from gateway.exposure import Exposure, note_replay, respond
from gateway.operations import Kind, Operation, Values
from gateway.settings import GatewaySettings
from gateway.values import Problems

_log = telemetry.get_logger(__name__)

# Where a contract wants them, the file's own name and type fill the metadata that the form leaves out.
_FILE_NAME: Final = ("file_name", "filename")
_MEDIA_TYPE: Final = ("media_type", "content_type")


class Transfers:
    """Answers client-streaming RPCs of {metadata | chunk}, and server-streaming ones of google.api.HttpBody."""

    def __init__(self, exposure: Exposure, settings: GatewaySettings) -> None:
        self._exposure = exposure
        self._settings = settings
        exposure.answers[Kind.UPLOAD] = self.answer_upload
        exposure.answers[Kind.DOWNLOAD] = self.answer_download

    async def answer_upload(self, exchange: Exchange, operation: Operation, values: Values) -> None:
        """Stream a form's file, or a raw body, to the service. Raises what bodies raise, and AioRpcError."""
        limits = self._settings.limits
        exchange.body.limit_bytes = limits.upload_bytes
        source = open_upload(
            exchange.body,
            content_type=exchange.header(b"content-type"),
            disposition=exchange.header(b"content-disposition"),
            most_parts=limits.upload_parts,
        )
        parts = operation.upload_parts()
        upload = await source.start()
        first = operation.request_class()
        _fill(getattr(first, parts.metadata), operation, upload, exchange, values)
        call = self._exposure.stubs.of(operation, values)(
            metadata=exchange.metadata(mutates=True), timeout=self._settings.deadlines.upload_seconds
        )
        _keep_status(call)
        try:
            await self._send(call, operation, first, source.content(), parts.chunk)
            reply = await call.read()
            await call.read()  # The end, behind which is the metadata.
        finally:
            call.cancel()
        await note_replay(exchange, call)
        await respond(exchange, operation, reply)

    @staticmethod
    async def _send(call: Any, operation: Operation, first: Any, content: Any, chunk: str) -> None:
        """Write the stream. A service that has answered already is heard instead of written to."""
        try:
            await call.write(first)
            async for piece in content:
                await call.write(operation.request_class(**{chunk: piece}))
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            if not call.done():
                raise

    async def answer_download(self, exchange: Exchange, operation: Operation, values: Values) -> None:
        """Stream the bytes that the service sends. Raises AioRpcError until the first of them."""
        request = operation.request(values, exchange.query())
        call = self._exposure.stubs.of(operation, values)(
            request, metadata=exchange.metadata(mutates=False), timeout=self._settings.deadlines.download_seconds
        )
        try:
            body = await call.read()
            hints = {key: value for key, value in await call.initial_metadata() or () if isinstance(value, str)}
            await exchange.start(200, _download_headers("" if body is grpc.aio.EOF else body.content_type, hints))
            while body is not grpc.aio.EOF:
                await exchange.write(body.data)
                body = await call.read()
            await exchange.write(b"", more=False)
        except (grpc.aio.AioRpcError, FleetError):
            if not exchange.has_started:
                raise
            # The reply stays unfinished, so that the server cuts the connection and no client takes half for the whole.
            _log.warning("download_broken", request_id=exchange.request_id, operation=operation.name)
        finally:
            call.cancel()


class _PatientCall:
    """gRPC's call, but for one thing: a write that failed does not make up a status before the service's arrives."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def set_internal_error(self, _: str) -> None:
        """Do nothing: whoever asks for the status waits for the real one, at most until the deadline."""


def _keep_status(call: Any) -> None:
    """Let a service that ends an upload early say why.

    Without this gRPC reports INTERNAL, "Internal error from Core", whenever a write meets a call that is over.
    """
    call._cython_call = _PatientCall(call._cython_call)


def _fill(message: Any, operation: Operation, upload: Upload, exchange: Exchange, values: Values) -> None:
    """Set the metadata from path, query, form fields and what is known of the file. Raises ValidationFailed."""
    problems = Problems()
    reader = operation.codec.reader(message.DESCRIPTOR)
    in_path = {dotted.split(".")[-1]: text for dotted, text in values.items()}
    for name, texts in [*exchange.query().items(), *upload.fields.items()]:
        if name in in_path:
            problems.add(name, "is given by the path", "unknown_field")
        else:
            reader.set_text(message, name, texts, problems)
    for name, text in in_path.items():
        reader.set_text(message, name, [text], problems)
    for names, text in ((_FILE_NAME, upload.file_name), (_MEDIA_TYPE, upload.media_type)):
        for name in names:
            if text and name in message.DESCRIPTOR.fields_by_name and not getattr(message, name):
                reader.set_text(message, name, [text], problems)
    message.SetInParent()
    problems.raise_if_any()


def _download_headers(content_type: str, hints: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Always an attachment: what somebody uploaded must never run as a page of ours."""
    disposition = "attachment"
    if name := hints.get("x-file-name", ""):
        # The service percent-encodes the name, since metadata is ASCII.
        disposition += f"; filename*=UTF-8''{quote(name, safe='%')}"
    media_type = content_type if content_type.isprintable() and content_type.isascii() else ""
    headers = [
        (b"content-type", (media_type or "application/octet-stream").encode()),
        (b"content-disposition", disposition.encode()),
    ]
    if hints.get("x-content-length", "").isdigit():
        headers.append((b"content-length", hints["x-content-length"].encode()))
    return headers
