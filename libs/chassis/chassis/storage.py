"""Files in an S3-compatible store, streamed in both directions.

boto3 is synchronous, so each call runs in a thread; uploads go in parts, and at most one part is in memory for each
upload.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from chassis.boundary import entering_network
from chassis.errors import DependencyUnavailable, FleetError
from chassis.settings import StorageSettings

PART_BYTES = 8 * 1024 * 1024
READ_BYTES = 256 * 1024

T = TypeVar("T")


class ObjectMissing(FleetError):
    """The store has no object under this key."""


@dataclass(frozen=True)
class Stored:
    """What was stored."""

    size_bytes: int
    sha256: str  # lower-case hexadecimal


class Storage(Protocol):
    """Objects by key. All methods raise DependencyUnavailable when the store is away."""

    async def put(self, key: str, content: AsyncIterator[bytes]) -> Stored:
        """Store what the iterator yields; when it raises, nothing is stored and the error passes."""

    def get(self, key: str) -> AsyncIterator[bytes]:
        """Yield the bytes of an object. Raises ObjectMissing."""

    async def read(self, key: str) -> bytes:
        """Return an object whole. Raises ObjectMissing."""

    async def delete(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""

    async def delete_prefix(self, prefix: str) -> int:
        """Delete all objects whose keys begin so, and return how many there were."""

    async def ping(self) -> None:
        """Return when the store answers."""


class S3Storage:
    """Storage over S3: AWS, SeaweedFS, MinIO and their like."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._made: Any = None  # Any: boto3's clients are made at run time and have no type

    async def put(self, key: str, content: AsyncIterator[bytes]) -> Stored:
        entering_network("storage")
        digest, size = hashlib.sha256(), 0
        parts = _in_parts(content)
        first = await anext(parts, b"")
        second = await anext(parts, None)
        if second is None:
            await self._call(lambda s3: s3.put_object(Bucket=self._bucket, Key=key, Body=first))
            return Stored(len(first), hashlib.sha256(first).hexdigest())
        upload = _Multipart(self, key)
        try:
            await upload.begin()
            part: bytes | None = first
            following: bytes | None = second
            while part is not None:
                digest.update(part)
                size += len(part)
                await upload.add(part)
                part, following = following, (await anext(parts, None) if following is not None else None)
            await upload.complete()
        except BaseException:
            await asyncio.shield(upload.abort())
            raise
        return Stored(size, digest.hexdigest())

    async def get(self, key: str) -> AsyncIterator[bytes]:
        entering_network("storage")
        reply = await self._call(lambda s3: s3.get_object(Bucket=self._bucket, Key=key))
        body = reply["Body"]
        try:
            while data := await self._call(lambda _: body.read(READ_BYTES)):
                yield data
        finally:
            body.close()

    async def read(self, key: str) -> bytes:
        return b"".join([data async for data in self.get(key)])

    async def delete(self, key: str) -> None:
        entering_network("storage")
        await self._call(lambda s3: s3.delete_object(Bucket=self._bucket, Key=key))

    async def delete_prefix(self, prefix: str) -> int:
        entering_network("storage")
        count = 0
        while True:
            page = await self._call(lambda s3: s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1000))
            keys = [{"Key": item["Key"]} for item in page.get("Contents", ())]
            if not keys:
                return count
            await self._call(self._deleting(keys))
            count += len(keys)

    def _deleting(self, keys: list[dict[str, str]]) -> Callable[[Any], Any]:  # Any: see __init__
        return lambda s3: s3.delete_objects(Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True})

    async def ping(self) -> None:
        entering_network("storage")
        await self._call(lambda s3: s3.head_bucket(Bucket=self._bucket))

    async def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        entering_network("storage")
        await self._call(self._create_bucket)

    def _create_bucket(self, s3: Any) -> None:  # Any: see __init__
        try:
            s3.head_bucket(Bucket=self._bucket)
        except s3.exceptions.ClientError:
            # Another replica may be faster.
            with suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
                s3.create_bucket(Bucket=self._bucket)

    @property
    def _bucket(self) -> str:
        return self._settings.bucket

    async def _call(self, operation: Callable[[Any], T]) -> T:
        # Imported where used: 0.4 s and tens of megabytes that a process without files does not pay.
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return await asyncio.to_thread(lambda: operation(self._client()))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in ("NoSuchKey", "404", "NotFound"):
                raise ObjectMissing from error
            raise DependencyUnavailable(dependency="storage") from error
        except (BotoCoreError, OSError) as error:
            raise DependencyUnavailable(dependency="storage") from error

    def _client(self) -> Any:  # Any: see __init__
        if self._made is None:
            import boto3
            from botocore.config import Config

            self._made = boto3.session.Session().client(
                "s3",
                endpoint_url=self._settings.endpoint_url,
                region_name=self._settings.region,
                aws_access_key_id=self._settings.access_key or None,
                aws_secret_access_key=self._settings.secret_key.get_secret_value() or None,
                config=Config(
                    signature_version="s3v4",
                    connect_timeout=5,
                    read_timeout=60,
                    retries={"max_attempts": 3, "mode": "standard"},
                    max_pool_connections=20,
                    s3={"addressing_style": "path"},
                ),
            )
        return self._made


class _Multipart:
    """One upload in parts."""

    def __init__(self, storage: S3Storage, key: str) -> None:
        self._storage = storage
        self._target = {"Bucket": storage._bucket, "Key": key}
        self._id = ""
        self._parts: list[dict[str, object]] = []

    async def begin(self) -> None:
        reply = await self._storage._call(lambda s3: s3.create_multipart_upload(**self._target))
        self._id = reply["UploadId"]

    async def add(self, part: bytes) -> None:
        number = len(self._parts) + 1
        reply = await self._storage._call(
            lambda s3: s3.upload_part(**self._target, UploadId=self._id, PartNumber=number, Body=part)
        )
        self._parts.append({"PartNumber": number, "ETag": reply["ETag"]})

    async def complete(self) -> None:
        await self._storage._call(
            lambda s3: s3.complete_multipart_upload(
                **self._target, UploadId=self._id, MultipartUpload={"Parts": self._parts}
            )
        )

    async def abort(self) -> None:
        if self._id:
            await self._storage._call(lambda s3: s3.abort_multipart_upload(**self._target, UploadId=self._id))


async def _in_parts(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the content in parts of PART_BYTES, the last one shorter."""
    held = bytearray()
    async for data in content:
        held += data
        while len(held) >= PART_BYTES:
            yield bytes(held[:PART_BYTES])
            del held[:PART_BYTES]
    if held:
        yield bytes(held)
