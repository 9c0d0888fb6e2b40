"""From bytes to a searchable document."""

import pytest

from chassis.rpc.caller import Caller
from definable.kb.v1 import document_service_pb2 as pb
from definable.kb.v1.events_pb2 import (
    DocumentAccepted,
    DocumentFailed,
    DocumentIndexed,
    DocumentRetried,
    EmbeddingUsageRecorded,
)

from .. import samples  # noqa: TID252
from .running import Kb  # noqa: TID252

FILES = {
    "herons.txt": (samples.TEXT, "text/plain"),
    "birds.md": (samples.MARKDOWN, "text/markdown"),
    "birds.html": (samples.HTML, "text/html"),
    "birds.pdf": (samples.pdf("Owls hunt at night.", "Herons wait for fish."), "application/pdf"),
    "birds.docx": (
        samples.word_document(("Heading 1", "Birds"), ("Normal", "Herons wait for fish."), ("Table", "owl|night")),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
}


class TestIngest:
    @pytest.mark.parametrize("file_name", FILES)
    async def test_makes_a_file_searchable_with_exact_spans(self, kb: Kb, owner: Caller, file_name: str) -> None:
        content, media_type = FILES[file_name]
        base = await kb.a_base(owner)

        uploaded = await kb.upload(owner, base.id, file_name, content)
        document = await kb.ended(owner, uploaded.id, state=pb.DOCUMENT_STATE_READY)
        hits = await kb.search(owner, [base.id], "herons waiting for fish")

        assert document.media_type == media_type
        assert document.progress_percent == 100
        assert document.version == 1
        assert document.chunk_count >= 1
        text = await kb.text_of(owner, document.id)
        assert len(text) == document.character_count
        assert hits
        assert all(text[hit.start : hit.end] == hit.text for hit in hits)
        assert "fish" in hits[0].text
        assert hits[0].document_version == 1
        for hit in hits:
            assert all(
                hit.text[mark.start : mark.end].lower()[:4] in ("hero", "wait", "fish") for mark in hit.highlights
            )

    async def test_knows_pages_and_headings(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner, chunking={"size_tokens": 32, "overlap_tokens": 0})
        pages = samples.pdf("Owls hunt at night. " * 8, "Herons wait for fish. " * 8)
        paper = await kb.upload(owner, base.id, "birds.pdf", pages)
        sections = b"# Birds\n\n" + b"All of them have feathers. " * 6 + b"\n\n## Herons\n\n" + b"Herons wait. " * 6
        notes = await kb.upload(owner, base.id, "birds.md", sections)
        for document in (paper, notes):
            await kb.ended(owner, document.id, state=pb.DOCUMENT_STATE_READY)

        hits = await kb.search(owner, [base.id], "herons wait", top_k=20)

        found = {hit.page: list(hit.heading_path) for hit in hits if hit.document_id == paper.id}
        assert found[2] == ["Chapter 2"]
        assert ["Birds", "Herons"] in [list(hit.heading_path) for hit in hits if hit.document_id == notes.id]

    async def test_announces_what_it_indexed_and_what_that_cost(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)

        document = await kb.a_ready_text(owner, base.id, "Herons wait for fish.")

        accepted = [record.message for record in await kb.outbox.all(DocumentAccepted)]
        assert document.id in [event.document_id for event in accepted if isinstance(event, DocumentAccepted)]
        indexed = await kb.outbox.last(DocumentIndexed)
        assert (indexed.document_id, indexed.version, indexed.chunk_count) == (document.id, 1, 1)
        usage = await kb.outbox.last(EmbeddingUsageRecorded)
        assert (usage.document_id, usage.knowledge_base_id, usage.cost_nano_usd) == (document.id, base.id, 0)
        assert usage.tokens == document.token_count > 0

    async def test_keeps_the_text_as_it_was_given(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        given = "Ünïcödé 🦩 中文字\n\n\tindented   and\x07 spaced\nlast line"

        document = await kb.a_ready_text(owner, base.id, given)

        assert await kb.text_of(owner, document.id) == given.replace("\x07", " ")

    async def test_cuts_a_long_text_into_many_chunks(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        text = " ".join(f"Sentence number {number} speaks of herons." for number in range(400))

        document = await kb.a_ready_text(owner, base.id, text)
        hits = await kb.search(owner, [base.id], "sentence number 317", top_k=100)

        assert document.chunk_count > 5
        assert len(hits) == document.chunk_count
        assert any("Sentence number 317 " in hit.text for hit in hits)
        assert all(text[hit.start : hit.end] == hit.text for hit in hits)


class TestFailures:
    @pytest.mark.parametrize(
        ("file_name", "content", "reason"),
        [
            ("broken.pdf", b"%PDF-1.7\nnothing of that kind", "FILE_CORRUPT"),
            ("locked.pdf", samples.pdf("secret", password="x"), "FILE_CORRUPT"),
            ("broken.docx", b"PK\x03\x04word/ but no archive", "FILE_CORRUPT"),
            ("scan.pdf", samples.pdf(""), "EMPTY_DOCUMENT"),
            ("blank.txt", b" \n\t\n ... ", "EMPTY_DOCUMENT"),
            ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(100), "UNSUPPORTED_TYPE"),
            ("program.txt", b"\x7fELF" + bytes(100), "UNSUPPORTED_TYPE"),
            ("table.csv", b"a,b\n1,2\n", "UNSUPPORTED_TYPE"),
            ("bomb.docx", samples.exploding_word_document(unpacked_bytes=300_000_000), "PARSE_MEMORY"),
            ("deep.html", b"<div>" * 300_000 + b"x", "PARSE_TIMEOUT"),
        ],
    )
    async def test_says_why_a_file_cannot_be_read(
        self, kb: Kb, owner: Caller, file_name: str, content: bytes, reason: str
    ) -> None:
        base = await kb.a_base(owner)

        uploaded = await kb.upload(owner, base.id, file_name, content)
        document = await kb.ended(owner, uploaded.id, state=pb.DOCUMENT_STATE_FAILED)

        assert document.failure_reason == reason
        assert document.failure_message
        failed = await kb.outbox.last(DocumentFailed)
        assert (failed.document_id, failed.reason) == (document.id, reason)
        assert not await kb.search(owner, [base.id], "anything")

    async def test_a_crowded_document_is_stopped_by_memory_or_time(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        content = samples.crowded_word_document(paragraphs=4_000_000)
        assert len(content) < 2_000_000

        uploaded = await kb.upload(owner, base.id, "crowd.docx", content)
        document = await kb.ended(owner, uploaded.id, state=pb.DOCUMENT_STATE_FAILED)

        assert document.failure_reason in ("PARSE_MEMORY", "PARSE_TIMEOUT")

    async def test_a_retry_ingests_again(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        uploaded = await kb.upload(owner, base.id, "blank.txt", b" ")
        await kb.ended(owner, uploaded.id, state=pb.DOCUMENT_STATE_FAILED)

        retried = await kb.documents(owner).RetryDocument(pb.RetryDocumentRequest(id=uploaded.id))

        assert retried.state == pb.DOCUMENT_STATE_PENDING
        assert retried.failure_reason == ""
        assert retried.job_id != uploaded.job_id
        assert (await kb.outbox.last(DocumentRetried)).document_id == uploaded.id
        again = await kb.ended(owner, uploaded.id, state=pb.DOCUMENT_STATE_FAILED)
        assert again.failure_reason == "EMPTY_DOCUMENT"
