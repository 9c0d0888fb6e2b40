"""Reading the type of a file from its first bytes and its name; what a client claims is not believed."""

from dataclasses import dataclass

TEXT = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ZIP = "application/zip"
UNKNOWN = "application/octet-stream"

SNIFF_BYTES = 8192
"""How much of the beginning `sniff` wants to see."""

_SIGNATURES = (
    (b"%PDF-", PDF),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\x7fELF", "application/x-executable"),
    (b"MZ", "application/vnd.microsoft.portable-executable"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"{\\rtf", "application/rtf"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
)
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_HTML_BEGINNINGS = ("<!doctype html", "<html", "<head", "<body")
_ENDINGS = {"md": MARKDOWN, "markdown": MARKDOWN, "html": HTML, "htm": HTML, "xhtml": HTML, "txt": TEXT, "text": TEXT}
# Text that other parsers will read one day; as plain text it would be indexed as noise.
_OTHER_TEXT_ENDINGS = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "xml": "application/xml",
    "svg": "image/svg+xml",
    "eml": "message/rfc822",
}


@dataclass(frozen=True, slots=True)
class FileName:
    """The name of an uploaded file without folders and control characters."""

    text: str

    @classmethod
    def of(cls, claimed: str) -> "FileName":
        """Take what a client sent; "file" when nothing of it is usable."""
        last = claimed.replace("\\", "/").rsplit("/", 1)[-1]
        return cls("".join(character for character in last if character.isprintable()).strip() or "file")

    @property
    def ending(self) -> str:
        """What stands behind the last dot, in lower case; empty without one."""
        stem, dot, ending = self.text.rpartition(".")
        return ending.lower() if dot and stem else ""


def sniff(beginning: bytes, *, file_name: str) -> str:
    """Return the media type that the first `SNIFF_BYTES` of a file and its name show.

    Signatures decide; among texts, which have none, the name's ending does, then how the text begins.
    """
    for signature, media_type in _SIGNATURES:
        if beginning.startswith(signature):
            return media_type
    ending = FileName.of(file_name).ending
    if beginning.startswith(b"PK\x03\x04"):
        return DOCX if b"word/" in beginning or ending == "docx" else ZIP
    # A PDF may have up to a kilobyte of junk before its header, and readers accept it.
    if b"%PDF-" in beginning[:1024]:
        return PDF
    return _text_type(beginning, ending) if _is_text(beginning) else UNKNOWN


def _text_type(beginning: bytes, ending: str) -> str:
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    if beginning.decode("latin-1").lstrip("\ufeffï»¿ \t\r\n").lower().startswith(_HTML_BEGINNINGS):
        return HTML
    return _OTHER_TEXT_ENDINGS.get(ending, TEXT)


def _is_text(beginning: bytes) -> bool:
    if beginning.startswith(_BYTE_ORDER_MARKS):
        return True
    if b"\x00" in beginning:
        return False
    controls = sum(byte < 32 and byte not in b"\t\n\v\f\r\x1b" for byte in beginning)
    return controls * 100 <= len(beginning)
