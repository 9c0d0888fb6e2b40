"""Files, in a real S3 store."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator

import pytest

from chassis.boundary import NetworkInsideUnitOfWork, inside_unit_of_work
from chassis.errors import DependencyUnavailable
from chassis.ids import new_id
from chassis.settings import StorageSettings
from chassis.storage import PART_BYTES, ObjectNotFound, S3Storage
from chassis.testing.servers import storage_settings


@pytest.fixture(scope="module")
async def storage() -> S3Storage:
    storage = S3Storage(storage_settings())
    await storage.ensure_bucket()
    await storage.ensure_bucket()
    return storage


@pytest.fixture
def key() -> str:
    return f"tests/{new_id()}"


async def pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


class TestPut:
    @pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 12345])
    async def test_stores_what_comes_whatever_its_size(self, storage: S3Storage, key: str, size: int) -> None:
        content = os.urandom(size)

        stored = await storage.put(key, pieces(content, 100_000))

        assert (stored.size_bytes, stored.sha256) == (size, hashlib.sha256(content).hexdigest())
        assert await storage.read(key) == content
        assert b"".join([piece async for piece in storage.get(key)]) == content

    async def test_leaves_nothing_behind_when_the_stream_breaks(self, storage: S3Storage, key: str) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"x" * (PART_BYTES + 1)
            raise RuntimeError("the client left")

        with pytest.raises(RuntimeError, match="client left"):
            await storage.put(key, broken())

        with pytest.raises(ObjectNotFound):
            await storage.read(key)
        uploads = await storage.call(lambda client: client.list_multipart_uploads(Bucket=storage.bucket))
        assert key not in [upload["Key"] for upload in uploads.get("Uploads", [])]

    async def test_replaces(self, storage: S3Storage, key: str) -> None:
        await storage.put(key, pieces(b"one", 3))
        await storage.put(key, pieces(b"two", 3))

        assert await storage.read(key) == b"two"


class TestDelete:
    async def test_deletes_and_does_not_mind_what_is_gone(self, storage: S3Storage, key: str) -> None:
        await storage.put(key, pieces(b"x", 1))
        await storage.delete(key)
        await storage.delete(key)

        with pytest.raises(ObjectNotFound):
            await storage.read(key)

    async def test_deletes_all_that_begins_so(self, storage: S3Storage, key: str) -> None:
        await asyncio.gather(*(storage.put(f"{key}/{n}", pieces(b"x", 1)) for n in range(5)))
        await storage.put(f"{key}-other", pieces(b"x", 1))

        assert await storage.delete_prefix(f"{key}/") == 5
        assert await storage.delete_prefix(f"{key}/") == 0
        assert await storage.read(f"{key}-other") == b"x"


class TestAvailability:
    async def test_answers(self, storage: S3Storage) -> None:
        await storage.ping()

    async def test_a_store_that_is_away_is_a_dependency(self) -> None:
        away = S3Storage(StorageSettings(endpoint_url="http://127.0.0.1:1", access_key="a"))

        with pytest.raises(DependencyUnavailable) as caught:
            await away.ping()

        assert caught.value.metadata == {"dependency": "storage"}

    async def test_a_bucket_that_is_missing_is_not_there(self) -> None:
        settings = storage_settings()

        with pytest.raises(ObjectNotFound):
            await S3Storage(settings.model_copy(update={"bucket": "never-made"})).ping()

    async def test_is_not_for_use_inside_a_unit_of_work(self, storage: S3Storage) -> None:
        with inside_unit_of_work(), pytest.raises(NetworkInsideUnitOfWork):
            await storage.read("x")
