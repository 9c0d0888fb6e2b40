"""Request bodies: how much, how fast, and what they hold."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from email.message import Message as MimeMessage
from typing import Any, Final

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.errors import BodyTooLarge, MalformedBody, UploadInvalid
from gateway.values import Json, is_deeper

_DISCARD_BYTES: Final = 8 * 1024 * 1024
_DISCARD_SECONDS: Final = 2.0
_FORM_BYTES: Final = 64 * 1024  # of all fields before the file together
_PART_HEADER_BYTES: Final = 8 * 1024
CHUNK_BYTES: Final = 256 * 1024


class BodyGuard:
    """The request's `receive`, with a limit on the body's size and on pauses within it.

    A route that takes more than the usual raises `limit_bytes` before it reads.
    """

    def __init__(self, receive: Any, headers: Mapping[bytes, bytes], *, limit_bytes: int, idle_seconds: float) -> None:
        self._receive = receive
        self.limit_bytes = limit_bytes
        self._idle_seconds = idle_seconds
        length = headers.get(b"content-length", b"")
        self._declared = int(length) if length.isdigit() else None
        self._has_body = bool(self._declared) or b"transfer-encoding" in headers
        self._waits_for_continue = b"expect" in headers
        self._seen = 0
        self.is_read = not self._has_body

    async def __call__(self) -> MutableMapping[str, Any]:
        """Receive the next message of the connection. Raises BodyTooLarge, MalformedBody."""
        if self.is_read:
            message: MutableMapping[str, Any] = await self._receive()
            return message
        if self._declared is not None and self._declared > self.limit_bytes:
            raise BodyTooLarge(limit_bytes=self.limit_bytes)
        message = await self._next(self._idle_seconds)
        if self._seen > self.limit_bytes:
            raise BodyTooLarge(limit_bytes=self.limit_bytes)
        return message

    async def _next(self, idle_seconds: float) -> MutableMapping[str, Any]:
        try:
            async with asyncio.timeout(idle_seconds):
                message: MutableMapping[str, Any] = await self._receive()
        except TimeoutError:
            raise MalformedBody("The body stopped arriving before its end.") from None
        self._waits_for_continue = False
        self._seen += len(message.get("body", b""))
        self.is_read = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body piece by piece. Raises BodyTooLarge, MalformedBody."""
        if not self._has_body:
            return
        while True:
            message = await self()
            if message["type"] != "http.request":
                raise MalformedBody("The client left before the end of the body.")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                return

    async def read(self) -> bytes:
        """Return the whole body. Raises BodyTooLarge, MalformedBody."""
        pieces = [piece async for piece in self.pieces()]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def discard(self) -> bool:
        """Read a refused body on for a moment, so that its sender sees the answer; whether that was all of it."""
        if self._waits_for_continue and not self.is_read:
            return False
        end = asyncio.get_running_loop().time() + _DISCARD_SECONDS
        budget = self._seen + _DISCARD_BYTES
        while not self.is_read and self._seen < budget:
            try:
                await self._next(max(0.0, end - asyncio.get_running_loop().time()))
            except MalformedBody:
                return False
        return self.is_read


def parse_json(body: bytes, *, depth: int) -> Json:
    """Return the value of a JSON body.

    Raises MalformedBody on anything but UTF-8 JSON (NaN, lone surrogates and control characters are none), on a key
    that an object has twice, and on more than `depth` values within each other.
    """
    try:
        # The strict reader refuses what is no JSON; the lenient one sees every key, and integers of any size as such.
        strict = orjson.loads(body)
        if body.count(b"{") + body.count(b"[") > depth and is_deeper(strict, depth):
            raise MalformedBody(f"The body is nested more than {depth} deep.")
        return json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise MalformedBody("The body is not valid JSON.") from error


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedBody("An object of the body has a key twice.")
    return found


@dataclass(slots=True)
class Upload:
    """The start of an upload: what was said of the file, and its bytes to come."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    file_name: str = ""
    media_type: str = ""


class RawUpload:
    """A body that is the file itself; what is said of it stands in query and headers."""

    def __init__(self, guard: BodyGuard, *, disposition: str, media_type: str) -> None:
        self._guard = guard
        self._start = Upload(file_name=disposition_name(disposition), media_type=media_type)

    async def start(self) -> Upload:
        """Return what the headers say of the file."""
        return self._start

    async def content(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes."""
        async for piece in self._guard.pieces():
            for offset in range(0, len(piece), CHUNK_BYTES):
                yield piece[offset : offset + CHUNK_BYTES]


class FormUpload:
    """A multipart form with one file, whose fields come before it: they travel to the service first."""

    def __init__(self, guard: BodyGuard, boundary: bytes, *, most_parts: int) -> None:
        self._pieces = guard.pieces()
        self._most_parts = most_parts
        self._parts = 0
        self._form_bytes = 0
        self._upload = Upload()
        self._name = ""
        self._header_name, self._header_value = b"", b""
        self._headers: dict[str, bytes] = {}
        self._value = b""
        self._content: list[bytes] = []
        self._in_file = self._file_began = self._ended = False
        callbacks: Any = {
            name.removeprefix("_"): getattr(self, name) for name in dir(type(self)) if name.startswith("_on_")
        }
        self._parser = MultipartParser(boundary, callbacks)

    async def start(self) -> Upload:
        """Read up to the first byte of the file. Raises UploadInvalid, MalformedBody, BodyTooLarge."""
        while not self._file_began:
            if not await self._feed():
                raise UploadInvalid('The form has no file: one part must be named "file".')
        return self._upload

    async def content(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes, then check that nothing but the end follows."""
        while True:
            for piece in self._content:
                for offset in range(0, len(piece), CHUNK_BYTES):
                    yield piece[offset : offset + CHUNK_BYTES]
            self._content.clear()
            if not await self._feed():
                break
        if not self._ended:
            raise MalformedBody("The form ends before its closing boundary.")

    async def _feed(self) -> bool:
        """Parse the next piece of the body; False at its end."""
        async for piece in self._pieces:
            try:
                self._parser.write(piece)
            except FormParserError as error:
                raise MalformedBody("The form is not valid multipart/form-data.") from error
            return True
        return False

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._most_parts:
            raise UploadInvalid(f"The form has more than {self._most_parts} parts.")
        self._headers, self._value = {}, b""
        self._header_name, self._header_value = b"", b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]
        self._check_part_header()

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]
        self._check_part_header()

    def _check_part_header(self) -> None:
        if len(self._header_name) + len(self._header_value) > _PART_HEADER_BYTES:
            raise UploadInvalid("A part of the form has too long a header.")

    def _on_header_end(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value
        self._header_name, self._header_value = b"", b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        try:
            self._name = options.get(b"name", b"").decode()
            file_name = options.get(b"filename", b"").decode()
        except UnicodeDecodeError as error:
            raise MalformedBody("The name of a part is not UTF-8.") from error
        if not self._name:
            raise UploadInvalid("A part of the form has no name.")
        if self._file_began:
            raise UploadInvalid("Fields must stand before the file, and there can be one file only.")
        if self._name == "file" or b"filename" in options:
            self._in_file = self._file_began = True
            self._upload.file_name = file_name
            self._upload.media_type = self._headers.get("content-type", b"").decode("latin-1")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._content.append(data[start:end])
            return
        self._form_bytes += end - start
        if self._form_bytes > _FORM_BYTES:
            raise UploadInvalid(f"The fields of the form are longer than {_FORM_BYTES} bytes.")
        self._value += data[start:end]

    def _on_part_end(self) -> None:
        if self._in_file:
            self._in_file = False
            return
        try:
            self._upload.fields.setdefault(self._name, []).append(self._value.decode())
        except UnicodeDecodeError as error:
            raise MalformedBody(f"The field {self._name[:100]} is not UTF-8.") from error

    def _on_end(self) -> None:
        self._ended = True


def open_upload(guard: BodyGuard, *, content_type: str, disposition: str, most_parts: int) -> RawUpload | FormUpload:
    """Return the reader for an upload's content type. Raises MalformedBody without a body or a boundary."""
    if not content_type and guard.is_read:
        raise MalformedBody("The request has no body; send the file as multipart/form-data or as the body itself.")
    media_type, options = parse_options_header(content_type)
    if media_type != b"multipart/form-data":
        return RawUpload(guard, disposition=disposition, media_type=content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary or len(boundary) > 70:
        raise MalformedBody("The form's content type names no boundary.")
    return FormUpload(guard, boundary, most_parts=most_parts)


def disposition_name(header: str) -> str:
    """Return the file name of a Content-Disposition header, empty when it has none."""
    message = MimeMessage()
    message["Content-Disposition"] = header
    return message.get_filename("")
