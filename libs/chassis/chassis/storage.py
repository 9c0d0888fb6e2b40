"""Files in an S3-compatible store, streamed in and out."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from chassis.boundary import entering_network
from chassis.errors import DependencyUnavailable
from chassis.settings import StorageSettings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PART_BYTES = 8 * 1024 * 1024
"""Size of the parts of an upload; S3 wants at least 5 MiB. What is smaller goes in one request."""
READ_BYTES = 256 * 1024
THREADS = 8

T = TypeVar("T")


class ObjectNotFound(Exception):
    """The store has no object under this key."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What was put into the store."""

    size_bytes: int
    sha256: str
    """In hexadecimal."""


class Storage(Protocol):
    """Where files are kept. Every method raises DependencyUnavailable while the store can't be reached."""

    async def put(self, key: str, content: AsyncIterator[bytes]) -> Stored:
        """Store a stream under a key, replacing what was there; nothing is visible before the stream ended."""
        ...

    def get(self, key: str) -> AsyncIterator[bytes]:
        """Stream an object. Raises ObjectNotFound, at the first step."""
        ...

    async def read(self, key: str) -> bytes:
        """Return a whole object. Raises ObjectNotFound."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; one that isn't there is fine."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Delete all objects whose keys begin so, and return how many there were."""
        ...

    async def ping(self) -> None:
        """Pass when the store answers and has the bucket."""
        ...

    async def ensure_bucket(self) -> None:
        """Make the bucket when it isn't there."""
        ...


class S3Storage:
    """A bucket of an S3-compatible store. boto3 blocks, so it works in a few threads of its own."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")

    async def put(self, key: str, content: AsyncIterator[bytes]) -> Stored:
        """Store a stream under a key; memory holds one part at a time. Raises DependencyUnavailable."""
        upload, digest, size = _Upload(self, key), hashlib.sha256(), 0
        try:
            async for chunk in content:
                digest.update(chunk)
                size += len(chunk)
                await upload.write(chunk)
            await upload.finish()
        except BaseException:
            await asyncio.shield(upload.abort())
            raise
        return Stored(size, digest.hexdigest())

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """Stream an object in pieces of 256 KiB. Raises ObjectNotFound, DependencyUnavailable."""
        answer = await self.call(lambda client: client.get_object(Bucket=self._bucket, Key=key))
        body = answer["Body"]
        try:
            while piece := await self.call(lambda _: body.read(READ_BYTES)):
                yield piece
        finally:
            body.close()

    async def read(self, key: str) -> bytes:
        """Return a whole object. Raises ObjectNotFound, DependencyUnavailable."""
        return await self.call(lambda client: client.get_object(Bucket=self._bucket, Key=key)["Body"].read())

    async def delete(self, key: str) -> None:
        """Delete an object; one that isn't there is fine. Raises DependencyUnavailable."""
        await self.call(lambda client: client.delete_object(Bucket=self._bucket, Key=key))

    async def delete_prefix(self, prefix: str) -> int:
        """Delete all objects whose keys begin so, and return how many there were. Raises DependencyUnavailable."""
        count = 0
        while keys := await self.call(lambda client: self._first_keys(client, prefix)):
            await self.call(partial(self._delete_all, keys=keys))
            count += len(keys)
        return count

    async def ping(self) -> None:
        """Pass when the store answers and has the bucket. Raises ObjectNotFound, DependencyUnavailable."""
        await self.call(lambda client: client.head_bucket(Bucket=self._bucket))

    async def ensure_bucket(self) -> None:
        """Make the bucket when it isn't there. Raises DependencyUnavailable."""
        try:
            await self.ping()
        except ObjectNotFound:
            await self.call(lambda client: client.create_bucket(Bucket=self._bucket))

    async def call(self, work: "Callable[[S3Client], T]") -> T:
        """Do something with the client in one of the threads, with its failures as ours."""
        entering_network("storage")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._translated, work)

    def _first_keys(self, client: "S3Client", prefix: str) -> list[str]:
        page = client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1000)
        return [item["Key"] for item in page.get("Contents", ())]

    def _delete_all(self, client: "S3Client", keys: list[str]) -> None:
        client.delete_objects(Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self._bucket

    def _translated(self, work: "Callable[[S3Client], T]") -> T:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            return work(self._client)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            if status == 404:
                raise ObjectNotFound(error.operation_name) from None
            if status >= 500:
                raise DependencyUnavailable(dependency="storage") from error
            raise
        except (HTTPClientError, BotoCoreError, OSError) as error:
            raise DependencyUnavailable(dependency="storage") from error

    @cached_property
    def _client(self) -> "S3Client":
        # Half a second to import: whoever never touches a file doesn't pay for it.
        import boto3
        from botocore.config import Config

        settings = self._settings
        return boto3.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key or None,
            aws_secret_access_key=settings.secret_key.get_secret_value() or None,
            config=Config(
                signature_version="s3v4",
                connect_timeout=3,
                read_timeout=30,
                retries={"max_attempts": 3, "mode": "standard"},
                max_pool_connections=THREADS,
                s3={"addressing_style": "path"},
                # Stores other than AWS refuse the checksums that boto3 adds by default.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


class _Upload:
    """An object on its way in: one request while it is small, a multipart upload from the first full part on."""

    def __init__(self, storage: S3Storage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._buffer = bytearray()
        self._id = ""
        self._parts: list[Any] = []  # Any: boto3's dictionaries of number and etag

    async def write(self, chunk: bytes) -> None:
        self._buffer += chunk
        while len(self._buffer) >= PART_BYTES:
            await self._send(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]

    async def finish(self) -> None:
        bucket, key, rest = self._storage.bucket, self._key, bytes(self._buffer)
        if not self._id:
            await self._storage.call(lambda client: client.put_object(Bucket=bucket, Key=key, Body=rest))
            return
        if rest:
            await self._send(rest)
        await self._storage.call(
            lambda client: client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=self._id, MultipartUpload={"Parts": self._parts}
            )
        )
        self._id = ""

    async def abort(self) -> None:
        if not self._id:
            return
        bucket, key, upload_id, self._id = self._storage.bucket, self._key, self._id, ""
        await self._storage.call(
            lambda client: client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        )

    async def _send(self, part: bytes) -> None:
        bucket, key, number = self._storage.bucket, self._key, len(self._parts) + 1
        if not self._id:
            answer = await self._storage.call(lambda client: client.create_multipart_upload(Bucket=bucket, Key=key))
            self._id = answer["UploadId"]
        sent = await self._storage.call(
            lambda client: client.upload_part(Bucket=bucket, Key=key, UploadId=self._id, PartNumber=number, Body=part)
        )
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})
