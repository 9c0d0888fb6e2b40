"""Parsers: small real files of each format, and what is wrong with hostile ones."""

import json
import resource
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.adapters.parsing import docx, html, markdown, pdf, plain
from kb.adapters.parsing.capped import CappedParser
from kb.adapters.parsing.child import Limits
from kb.domain.errors import EmptyDocument, FileCorrupt, ParseMemory, ParseTimeout, TextTooLarge, UnsupportedType
from kb.domain.media_types import DOCX, HTML, MARKDOWN, PDF, TEXT

from .. import samples  # noqa: TID252

LIMITS = Limits(cpu_seconds=5, memory_bytes=512 * 1024 * 1024, text_characters=1_000_000)


def a_parser(*, timeout: float = 20, limits: Limits = LIMITS) -> CappedParser:
    return CappedParser(limits=limits, timeout=timedelta(seconds=timeout))


class TestPlain:
    def test_keeps_the_text_but_for_line_ends(self) -> None:
        assert plain.parse(samples.TEXT).text == samples.TEXT.decode().replace("\r\n", "\n")

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    def test_reads_usual_encodings(self, encoding: str) -> None:
        assert plain.parse("Fähre – zwölf".encode(encoding)).text == "Fähre – zwölf"

    def test_refuses_text_that_breaks_its_byte_order_mark(self) -> None:
        with pytest.raises(FileCorrupt):
            plain.parse(b"\xef\xbb\xbf\xff\xff")

    @given(st.binary())
    def test_gives_text_that_a_database_takes(self, content: bytes) -> None:
        try:
            text = plain.parse(content).text
        except FileCorrupt:
            return
        assert "\x00" not in text
        text.encode()


class TestMarkdown:
    def test_keeps_the_source_and_finds_headings(self) -> None:
        parsed = markdown.parse(samples.MARKDOWN)

        assert parsed.text == samples.MARKDOWN.decode()
        assert [(heading.level, heading.title) for heading in parsed.headings] == [(1, "Birds"), (2, "Herons")]
        assert all(parsed.text[heading.start] == "#" for heading in parsed.headings)


class TestHtml:
    def test_shows_what_a_reader_sees(self) -> None:
        parsed = html.parse(samples.HTML)

        assert parsed.text.split("\n\n") == [
            "Home",
            "Birds",
            "Herons wait for fish & frogs.",
            "Owls",
            "They hunt at night.",
            "They hear well.",
        ]
        assert [(heading.level, heading.title) for heading in parsed.headings] == [(1, "Birds"), (2, "Owls")]
        assert all(parsed.text[heading.start :].startswith(heading.title) for heading in parsed.headings)

    def test_believes_a_declared_charset(self) -> None:
        content = '<meta charset="iso-8859-1"><p>Fähre</p>'.encode("iso-8859-1")

        assert html.parse(content).text == "Fähre"


class TestPdf:
    def test_knows_pages_and_outline(self) -> None:
        parsed = pdf.parse(samples.pdf("Owls hunt.", "Herons wait."))

        assert parsed.text.split("\n\n") == ["Owls hunt.", "Herons wait."]
        assert [parsed.page_at(parsed.text.index(word)) for word in ("Owls", "Herons")] == [1, 2]
        assert [heading.title for heading in parsed.headings] == ["Chapter 1", "Chapter 2"]

    def test_counts_pages_without_text(self) -> None:
        parsed = pdf.parse(samples.pdf("Owls hunt.", "", "Herons wait."))

        assert parsed.page_at(parsed.text.index("Herons")) == 3


class TestDocx:
    def test_reads_headings_paragraphs_and_tables_in_order(self) -> None:
        blocks = [("Title", "Birds"), ("Heading 2", "Herons"), ("Normal", "They wait."), ("Table", "owl|night")]

        parsed = docx.parse(samples.word_document(*blocks))

        assert parsed.text == "Birds\n\nHerons\n\nThey wait.\n\nowl\tnight"
        assert [(heading.level, heading.title) for heading in parsed.headings] == [(1, "Birds"), (2, "Herons")]

    def test_refuses_what_unpacks_to_very_much(self) -> None:
        with pytest.raises(ParseMemory):
            docx.parse(samples.exploding_word_document(unpacked_bytes=300_000_000))


class TestCappedParser:
    @pytest.mark.parametrize(
        ("media_type", "content"),
        [
            (TEXT, samples.TEXT),
            (MARKDOWN, samples.MARKDOWN),
            (HTML, samples.HTML),
            (PDF, samples.pdf("Owls hunt.", "Herons wait.")),
            (DOCX, samples.word_document(("Heading 1", "Birds"), ("Normal", "Herons wait."))),
        ],
    )
    async def test_finds_what_the_parser_finds(self, tmp_path: Path, media_type: str, content: bytes) -> None:
        alone = {TEXT: plain, MARKDOWN: markdown, HTML: html, PDF: pdf, DOCX: docx}[media_type].parse(content)

        apart = await a_parser().parse(a_file(tmp_path, content), media_type=media_type)

        assert apart.text == alone.text
        assert list(apart.page_starts) == list(alone.page_starts)
        assert list(apart.headings) == list(alone.headings)

    async def test_ends_a_parser_that_takes_too_long(self, tmp_path: Path) -> None:
        with pytest.raises(ParseTimeout):
            await a_parser(timeout=0.05).parse(a_file(tmp_path, samples.HTML), media_type=HTML)

    async def test_refuses_more_text_than_allowed(self, tmp_path: Path) -> None:
        limits = Limits(cpu_seconds=5, memory_bytes=LIMITS.memory_bytes, text_characters=10)
        for media_type in (TEXT, MARKDOWN):
            with pytest.raises(TextTooLarge):
                await a_parser(limits=limits).parse(a_file(tmp_path, b"much too long"), media_type=media_type)

    @pytest.mark.parametrize(
        ("media_type", "content", "failure"),
        [
            ("image/png", b"\x89PNG", UnsupportedType),
            (PDF, b"%PDF-1.7 no", FileCorrupt),
            (PDF, samples.pdf("x", password="y"), FileCorrupt),
            (DOCX, b"PK no", FileCorrupt),
            (TEXT, b" \n.", EmptyDocument),
            (HTML, b"<script>x</script>", EmptyDocument),
        ],
    )
    async def test_says_what_is_wrong(
        self, tmp_path: Path, media_type: str, content: bytes, failure: type[Exception]
    ) -> None:
        with pytest.raises(failure):
            await a_parser().parse(a_file(tmp_path, content), media_type=media_type)

    def test_the_child_can_neither_write_nor_grow(self, tmp_path: Path) -> None:
        probe = (
            "import json, resource, sys; from kb.adapters.parsing.child import Limits, confine;"
            f"confine(Limits(5, {LIMITS.memory_bytes}, 1));"
            "limits = [resource.getrlimit(kind)[0] for kind in"
            " (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)];"
            "print(json.dumps(limits))"
        )

        told = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=True, text=True)

        assert json.loads(told.stdout) == [LIMITS.memory_bytes, 5, 0, 0]
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0


def a_file(folder: Path, content: bytes) -> Path:
    path = folder / "original"
    path.write_bytes(content)
    return path
