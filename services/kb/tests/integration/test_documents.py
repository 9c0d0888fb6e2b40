"""Documents over gRPC, apart from their ingest."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct

from chassis.rpc.caller import Caller
from chassis.testing import Authority, caller_matrix, eventually, refused
from definable.kb.v1 import document_service_pb2 as pb
from definable.kb.v1.events_pb2 import DocumentDeleted, DocumentUpdated
from definable.options.v1.options_pb2 import Rank
from kb.domain import ids

from .. import samples  # noqa: TID252
from .running import SOME_ID, Kb  # noqa: TID252

UNKNOWN = f"doc_{SOME_ID}"


def a_struct(**fields: Any) -> Struct:  # Any: JSON
    struct = Struct()
    struct.update(fields)
    return struct


async def download(kb: Kb, caller: Caller | None, document_id: str) -> bytes:
    stream = kb.documents(caller).DownloadDocument(pb.DownloadDocumentRequest(id=document_id))
    return b"".join([body.data async for body in stream])


class TestAcceptDocument:
    async def test_answers_before_the_ingest(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        folder = await kb.a_folder(owner, base.id, "top")

        document = await kb.upload(
            owner,
            base.id,
            "x/birds.md",
            samples.MARKDOWN,
            folder_id=folder.id,
            metadata=a_struct(year=2026, tags=["a"]),
        )

        assert document.state == pb.DOCUMENT_STATE_PENDING
        assert (document.title, document.file_name, document.folder_id) == ("birds.md", "birds.md", folder.id)
        assert dict(document.metadata)["year"] == 2026
        assert document.job_id.startswith("job_kb_")
        assert await download(kb, owner, document.id) == samples.MARKDOWN

    @pytest.mark.parametrize(
        ("content", "fields", "reason"),
        [
            (b"", {}, "FILE_EMPTY"),
            (bytes(4 * 1024 * 1024 + 1), {}, "FILE_TOO_LARGE"),
            (b"abc", {"sha256": "0" * 64}, "FILE_HASH_MISMATCH"),
            (b"abc", {"folder_id": f"folder_{SOME_ID}"}, "FOLDER_NOT_FOUND"),
            (b"abc", {"folder_id": f"doc_{SOME_ID}"}, "INVALID_ID"),
            (b"abc", {"metadata": a_struct(text="x" * 17_000)}, "METADATA_TOO_LARGE"),
            (b"abc", {"title": "x" * 501}, "VALIDATION_FAILED"),
        ],
    )
    async def test_refuses_and_keeps_nothing(
        self, kb: Kb, owner: Caller, content: bytes, fields: dict[str, Any], reason: str
    ) -> None:
        base = await kb.a_base(owner)

        with refused(reason):
            await kb.upload(owner, base.id, "a.txt", content, **fields)

        listed = await kb.documents(owner).ListDocuments(pb.ListDocumentsRequest(knowledge_base_id=base.id))
        assert list(listed.documents) == []
        assert await kb.stored_keys(owner) == []

    async def test_keeps_nothing_of_a_client_that_left(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        began = asyncio.Event()

        async def messages() -> AsyncIterator[pb.UploadDocumentRequest]:
            metadata = pb.UploadDocumentMetadata(knowledge_base_id=base.id, file_name="a.txt")
            yield pb.UploadDocumentRequest(metadata=metadata)
            yield pb.UploadDocumentRequest(chunk=b"beginning")
            began.set()
            await asyncio.sleep(60)

        async def shown() -> int:
            listed = await kb.documents(owner).ListDocuments(pb.ListDocumentsRequest(knowledge_base_id=base.id))
            return len(listed.documents)

        async def call() -> None:
            await kb.documents(owner).UploadDocument(messages())

        upload = asyncio.create_task(call())
        await began.wait()
        await eventually(shown)
        upload.cancel()

        async def is_gone() -> bool:
            return await shown() == 0

        await eventually(is_gone)

    async def test_repeats_its_answer_under_one_key(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        request = pb.CreateTextDocumentRequest(knowledge_base_id=base.id, title="T", text="Herons.")
        key = (("idempotency-key", f"text-{base.id}"),)

        first = await kb.documents(owner).CreateTextDocument(request, metadata=key)
        second = await kb.documents(owner).CreateTextDocument(request, metadata=key)

        assert first == second
        request.text = "Owls."
        with refused("IDEMPOTENCY_KEY_REUSED"):
            await kb.documents(owner).CreateTextDocument(request, metadata=key)

    async def test_needs_a_base_that_one_may_see(self, kb: Kb, owner: Caller, authority: Authority) -> None:
        base = await kb.a_base(owner)

        async def upload(caller: Caller | None) -> pb.Document:
            return await kb.upload(caller, base.id, "a.txt", b"Herons.")

        async def create(caller: Caller | None) -> pb.Document:
            request = pb.CreateTextDocumentRequest(knowledge_base_id=base.id, title="T", text="Herons.")
            created: pb.Document = await kb.documents(caller).CreateTextDocument(request)
            return created

        async def show(caller: Caller | None) -> pb.ListDocumentsResponse:
            request = pb.ListDocumentsRequest(knowledge_base_id=base.id)
            listed: pb.ListDocumentsResponse = await kb.documents(caller).ListDocuments(request)
            return listed

        for call, low in ((upload, Rank.MEMBER), (create, Rank.MEMBER), (show, Rank.RANK_UNSPECIFIED)):
            seen = await caller_matrix(call, authority, permitted=owner, low=authority.colleague(owner, low))
            assert seen == {
                "nobody": "UNAUTHENTICATED",
                "stranger": "KNOWLEDGE_BASE_NOT_FOUND",
                "low": "PERMISSION_DENIED",
                "permitted": "OK",
            }


class TestListDocuments:
    async def test_filters_by_state_folder_and_title(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        folder = await kb.a_folder(owner, base.id, "top")
        ready = await kb.a_ready_text(owner, base.id, "Herons.", title="Herons", folder_id=folder.id)
        failed = await kb.a_text(owner, base.id, "...", title="Dots")
        await kb.ended(owner, failed.id, state=pb.DOCUMENT_STATE_FAILED)

        async def found(**fields: Any) -> list[str]:
            request = pb.ListDocumentsRequest(knowledge_base_id=base.id, **fields)
            return [document.id for document in (await kb.documents(owner).ListDocuments(request)).documents]

        assert await found() == [failed.id, ready.id]
        assert await found(order_by="title desc") == [ready.id, failed.id]
        assert await found(state=pb.DOCUMENT_STATE_READY) == [ready.id]
        assert await found(state=pb.DOCUMENT_STATE_FAILED) == [failed.id]
        assert await found(folder_id=folder.id) == [ready.id]
        assert await found(folder_id="") == [failed.id]
        assert await found(query="dot") == [failed.id]
        with refused("FOLDER_NOT_FOUND"):
            await found(folder_id=f"folder_{SOME_ID}")
        with refused("VALIDATION_FAILED"):
            await found(order_by="size")

    async def test_pages(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        made = [(await kb.a_text(owner, base.id, f"Heron {number}.")).id for number in range(5)]
        token, seen = "", list[str]()

        while token or not seen:
            request = pb.ListDocumentsRequest(
                knowledge_base_id=base.id, page_size=2, page_token=token, order_by="create_time"
            )
            page = await kb.documents(owner).ListDocuments(request)
            seen += [document.id for document in page.documents]
            token = page.next_page_token

        assert seen == made


class TestUpdateDocument:
    async def test_changes_title_folder_and_metadata(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        folder = await kb.a_folder(owner, base.id, "top")
        document = await kb.a_ready_text(owner, base.id, "Herons wait.", metadata=a_struct(old=1))
        changed = pb.Document(id=document.id, title="New", folder_id=folder.id, metadata=a_struct(new=2))

        updated = await kb.documents(owner).UpdateDocument(pb.UpdateDocumentRequest(document=changed))

        assert (updated.title, updated.folder_id, dict(updated.metadata)) == ("New", folder.id, {"new": 2})
        assert (await kb.outbox.last(DocumentUpdated)).document_id == document.id
        (hit,) = await kb.search(owner, [base.id], "herons")
        assert hit.document_title == "New"
        cleared = await kb.documents(owner).UpdateDocument(
            pb.UpdateDocumentRequest(
                document=pb.Document(id=document.id), update_mask=FieldMask(paths=["folder_id", "metadata"])
            )
        )
        assert (cleared.folder_id, dict(cleared.metadata), cleared.title) == ("", {}, "New")

    async def test_refuses_an_older_etag_and_what_cannot_change(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        document = await kb.a_ready_text(owner, base.id, "Herons wait.")
        request = pb.UpdateDocumentRequest(document=pb.Document(id=document.id, title="New"))
        await kb.documents(owner).UpdateDocument(request, metadata=(("if-match", document.etag),))

        with refused("ETAG_MISMATCH"):
            await kb.documents(owner).UpdateDocument(request, metadata=(("if-match", document.etag),))
        request.update_mask.paths.append("version")
        with refused("VALIDATION_FAILED"):
            await kb.documents(owner).UpdateDocument(request)


class TestDeleteDocument:
    async def test_erases_everything(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        kept = await kb.a_ready_text(owner, base.id, "Owls hunt at night.", title="Owls")
        document = await kb.a_ready_text(owner, base.id, "Herons wait for fish.", title="Herons")

        await kb.documents(owner).DeleteDocument(pb.DeleteDocumentRequest(id=document.id))

        assert (await kb.outbox.last(DocumentDeleted)).document_id == document.id
        with refused("DOCUMENT_NOT_FOUND"):
            await kb.get(owner, document.id)
        hits = await kb.search(owner, [base.id], "herons wait for fish")
        assert {hit.document_id for hit in hits} == {kept.id}
        rows = await kb.row_counts(ids.KNOWLEDGE_BASE.parse(base.id))
        assert (rows["documents"], rows["chunks"]) == (1, 1)
        assert rows["postings"] == len({"owl", "hunt", "night"})

        async def is_erased() -> bool:
            return len(await kb.stored_keys(owner)) == 1

        await eventually(is_erased)


class TestDocuments:
    @pytest.mark.parametrize(
        ("method", "rank"),
        [
            ("GetDocument", Rank.VIEWER),
            ("GetDocumentText", Rank.VIEWER),
            ("DownloadDocument", Rank.VIEWER),
            ("UpdateDocument", Rank.DEVELOPER),
            ("DeleteDocument", Rank.DEVELOPER),
        ],
    )
    async def test_of_others_are_unknown(
        self, kb: Kb, owner: Caller, authority: Authority, method: str, rank: Rank.ValueType
    ) -> None:
        base = await kb.a_base(owner)
        document = await kb.a_ready_text(owner, base.id, "Herons wait.")

        async def send(caller: Caller | None, document_id: str) -> None:
            if method == "DownloadDocument":
                await download(kb, caller, document_id)
                return
            kind = getattr(pb, f"{method}Request")
            request = kind(document={"id": document_id, "title": "x"}) if "Update" in method else kind(id=document_id)
            await getattr(kb.documents(caller), method)(request)

        async def call(caller: Caller | None) -> pb.Document:
            await send(caller, document.id)
            return document

        with refused("DOCUMENT_NOT_FOUND"):
            await send(owner, UNKNOWN)
        with refused("INVALID_ID"):
            await send(owner, f"kb_{SOME_ID}")
        low = authority.colleague(owner, Rank.MEMBER if rank == Rank.DEVELOPER else Rank.RANK_UNSPECIFIED)
        seen = await caller_matrix(call, authority, permitted=authority.colleague(owner, rank), low=low)
        assert seen == {
            "nobody": "UNAUTHENTICATED",
            "stranger": "DOCUMENT_NOT_FOUND",
            "low": "PERMISSION_DENIED",
            "permitted": "OK",
        }

    async def test_are_retried_only_when_failed(self, kb: Kb, owner: Caller, authority: Authority) -> None:
        base = await kb.a_base(owner)
        document = await kb.a_ready_text(owner, base.id, "Herons wait.")

        async def retry(caller: Caller | None) -> pb.Document:
            retried: pb.Document = await kb.documents(caller).RetryDocument(pb.RetryDocumentRequest(id=document.id))
            return retried

        assert await caller_matrix(retry, authority, permitted=owner) == {
            "nobody": "UNAUTHENTICATED",
            "stranger": "DOCUMENT_NOT_FOUND",
            "low": "PERMISSION_DENIED",
            "permitted": "DOCUMENT_NOT_FAILED",
        }

    async def test_give_their_text_in_parts(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        document = await kb.a_ready_text(owner, base.id, "Ünïcödé 🦩 herons")

        async def part(start: int, end: int) -> tuple[str, int, int, int]:
            request = pb.GetDocumentTextRequest(id=document.id, start=start, end=end)
            reply = await kb.documents(owner).GetDocumentText(request)
            return reply.text, reply.start, reply.end, reply.character_count

        assert await part(8, 9) == ("🦩", 8, 9, 16)
        assert await part(10, 0) == ("herons", 10, 16, 16)
        assert await part(10, 99) == ("herons", 10, 16, 16)
        assert await part(99, 0) == ("", 99, 99, 16)
        assert await part(2**31 - 1, 2**31 - 1) == ("", 2**31 - 1, 2**31 - 1, 16)

    async def test_give_no_text_before_they_are_ready(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        document = await kb.a_text(owner, base.id, "...")
        await kb.ended(owner, document.id, state=pb.DOCUMENT_STATE_FAILED)

        with refused("DOCUMENT_NOT_READY"):
            await kb.documents(owner).GetDocumentText(pb.GetDocumentTextRequest(id=document.id))
