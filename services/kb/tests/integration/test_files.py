"""Files over gRPC."""

import hashlib

import pytest

from chassis.rpc.caller import Caller
from chassis.testing import Authority, caller_matrix, eventually, refused
from definable.kb.v1 import file_service_pb2 as pb
from definable.kb.v1.events_pb2 import FileDeleted, FileStored
from definable.options.v1.options_pb2 import Rank

from .. import samples  # noqa: TID252
from .running import SOME_ID, Kb  # noqa: TID252

UNKNOWN = f"file_{SOME_ID}"


async def download(kb: Kb, caller: Caller | None, file_id: str) -> bytes:
    stream = kb.files(caller).DownloadFile(pb.DownloadFileRequest(id=file_id))
    return b"".join([body.data async for body in stream])


class TestUploadFile:
    async def test_stores_bytes_with_type_and_hash(self, kb: Kb, owner: Caller) -> None:
        content = samples.pdf("Herons wait.")

        stored = await kb.upload_file(owner, "folder/birds.txt", content)

        assert (stored.file_name, stored.media_type) == ("birds.txt", "application/pdf")
        assert (stored.size_bytes, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert await download(kb, owner, stored.id) == content
        event = await kb.outbox.last(FileStored)
        assert (event.file_id, event.size_bytes) == (stored.id, len(content))

    async def test_takes_more_than_one_part(self, kb: Kb, owner: Caller) -> None:
        content = bytes(range(256)) * 12_000

        stored = await kb.upload_file(owner, "data", content)

        assert stored.media_type == "application/octet-stream"
        assert await download(kb, owner, stored.id) == content

    @pytest.mark.parametrize(
        ("content", "fields", "reason"),
        [
            (b"", {}, "FILE_EMPTY"),
            (bytes(4 * 1024 * 1024 + 1), {}, "FILE_TOO_LARGE"),
            (b"abc", {"sha256": "0" * 64}, "FILE_HASH_MISMATCH"),
            (b"abc", {"sha256": "xyz"}, "VALIDATION_FAILED"),
        ],
    )
    async def test_refuses_and_keeps_nothing(
        self, kb: Kb, owner: Caller, content: bytes, fields: dict[str, str], reason: str
    ) -> None:
        with refused(reason):
            await kb.upload_file(owner, "a.bin", content, **fields)

        assert not (await kb.files(owner).ListFiles(pb.ListFilesRequest())).files
        assert await kb.stored_keys(owner) == []

    async def test_takes_the_hash_that_fits(self, kb: Kb, owner: Caller) -> None:
        digest = hashlib.sha256(b"abc").hexdigest().upper()

        assert (await kb.upload_file(owner, "a", b"abc", sha256=digest)).sha256 == digest.lower()

    @pytest.mark.parametrize(
        "messages",
        [
            [pb.UploadFileRequest(chunk=b"x")],
            [pb.UploadFileRequest()],
            [pb.UploadFileRequest(metadata=pb.UploadFileMetadata(file_name="a"))] * 2,
        ],
    )
    async def test_refuses_messages_in_another_order(
        self, kb: Kb, owner: Caller, messages: list[pb.UploadFileRequest]
    ) -> None:
        with refused("UPLOAD_OUT_OF_ORDER"):
            await kb.files(owner).UploadFile(iter(messages))


class TestFiles:
    async def test_are_listed_newest_first(self, kb: Kb, owner: Caller) -> None:
        for name in ("a.txt", "b.txt", "c.md"):
            await kb.upload_file(owner, name, b"x")

        first = await kb.files(owner).ListFiles(pb.ListFilesRequest(page_size=2))
        rest = await kb.files(owner).ListFiles(pb.ListFilesRequest(page_token=first.next_page_token))
        texts = await kb.files(owner).ListFiles(pb.ListFilesRequest(query=".TXT"))

        assert [file.file_name for file in [*first.files, *rest.files]] == ["c.md", "b.txt", "a.txt"]
        assert [file.file_name for file in texts.files] == ["b.txt", "a.txt"]

    async def test_are_erased(self, kb: Kb, owner: Caller) -> None:
        stored = await kb.upload_file(owner, "a.txt", b"x")

        await kb.files(owner).DeleteFile(pb.DeleteFileRequest(id=stored.id))

        with refused("FILE_NOT_FOUND"):
            await kb.files(owner).GetFile(pb.GetFileRequest(id=stored.id))
        with refused("FILE_NOT_FOUND"):
            await download(kb, owner, stored.id)
        assert (await kb.outbox.last(FileDeleted)).file_id == stored.id

        async def is_erased() -> bool:
            return await kb.stored_keys(owner) == []

        await eventually(is_erased)

    async def test_of_others_are_unknown(self, kb: Kb, owner: Caller, authority: Authority) -> None:
        stored = await kb.upload_file(owner, "a.txt", b"x")

        async def get(caller: Caller | None) -> pb.File:
            found: pb.File = await kb.files(caller).GetFile(pb.GetFileRequest(id=stored.id))
            return found

        async def fetch(caller: Caller | None) -> pb.File:
            await download(kb, caller, stored.id)
            return stored

        async def delete(caller: Caller | None) -> pb.File:
            await kb.files(caller).DeleteFile(pb.DeleteFileRequest(id=stored.id))
            return stored

        with refused("FILE_NOT_FOUND"):
            await kb.files(owner).GetFile(pb.GetFileRequest(id=UNKNOWN))
        for call in (get, fetch, delete):
            seen = await caller_matrix(call, authority, permitted=owner)
            assert seen == {
                "nobody": "UNAUTHENTICATED",
                "stranger": "FILE_NOT_FOUND",
                "low": "PERMISSION_DENIED",
                "permitted": "OK",
            }

    async def test_are_uploaded_by_members(self, kb: Kb, owner: Caller, authority: Authority) -> None:
        async def upload(caller: Caller | None) -> pb.File:
            return await kb.upload_file(caller, "a.txt", b"x")

        member, viewer = authority.colleague(owner, Rank.MEMBER), authority.colleague(owner, Rank.VIEWER)
        seen = await caller_matrix(upload, authority, permitted=member, low=viewer)
        assert seen == {"nobody": "UNAUTHENTICATED", "stranger": "OK", "low": "PERMISSION_DENIED", "permitted": "OK"}
