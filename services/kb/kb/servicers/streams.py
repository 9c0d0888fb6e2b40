"""What uploads and downloads have in common: the order of their messages."""

from collections.abc import AsyncIterator
from typing import Any

from google.api.httpbody_pb2 import HttpBody  # type: ignore[import-untyped]  # Google ships no types for it

from kb.domain.errors import UploadOutOfOrder

Requests = AsyncIterator[Any]  # Any: a message with the oneof `metadata`, `chunk`; their types share no base


async def metadata_of(requests: Requests) -> Any:  # Any: as above
    """Return the metadata that begin an upload. Raises UploadOutOfOrder."""
    first = await anext(aiter(requests), None)
    if first is None or first.WhichOneof("content") != "metadata":
        raise UploadOutOfOrder
    return first.metadata


async def bytes_of(requests: Requests) -> AsyncIterator[bytes]:
    """Yield the bytes that follow the metadata. Raises UploadOutOfOrder."""
    async for request in requests:
        if request.WhichOneof("content") != "chunk":
            raise UploadOutOfOrder
        yield request.chunk


async def bodies(content: AsyncIterator[bytes], *, media_type: str) -> AsyncIterator[HttpBody]:
    """Yield bytes as the messages of a download; the first one names their type."""
    async for piece in content:
        yield HttpBody(content_type=media_type, data=piece)
