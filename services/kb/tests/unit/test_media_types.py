"""Types are read from bytes."""

import pytest

from kb.domain.media_types import DOCX, HTML, MARKDOWN, PDF, TEXT, UNKNOWN, ZIP, FileName, sniff

from .. import samples  # noqa: TID252


class TestSniff:
    @pytest.mark.parametrize(
        ("content", "file_name", "media_type"),
        [
            (samples.TEXT, "a.txt", TEXT),
            (samples.TEXT, "README", TEXT),
            (samples.MARKDOWN, "a.md", MARKDOWN),
            (samples.HTML, "a.html", HTML),
            (samples.HTML, "page", HTML),
            (samples.pdf("x"), "a.pdf", PDF),
            (b"junk\n%PDF-1.4", "a.pdf", PDF),
            (samples.word_document(("Normal", "x")), "a.docx", DOCX),
            (b"PK\x03\x04whatever", "a.zip", ZIP),
            (b"\xff\xfeh\x00i\x00", "a.txt", TEXT),
            (b"\x00\x01\x02", "a.txt", UNKNOWN),
            (b"a,b", "a.csv", "text/csv"),
            (b"", "empty.txt", TEXT),
        ],
    )
    def test_reads_the_type(self, content: bytes, file_name: str, media_type: str) -> None:
        assert sniff(content[:8192], file_name=file_name) == media_type

    @pytest.mark.parametrize("lie", ["a.txt", "a.md", "a.html", "a.docx"])
    def test_believes_bytes_and_not_names(self, lie: str) -> None:
        assert sniff(samples.pdf("x")[:8192], file_name=lie) == PDF


class TestFileName:
    @pytest.mark.parametrize(
        ("claimed", "kept"),
        [
            ("../../etc/passwd", "passwd"),
            ("C:\\x\\a.txt", "a.txt"),
            ("a\x00\nb.txt", "ab.txt"),
            ("/", "file"),
            (" ", "file"),
        ],
    )
    def test_drops_folders_and_control_characters(self, claimed: str, kept: str) -> None:
        assert FileName.of(claimed).text == kept
