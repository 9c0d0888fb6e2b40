"""Plain text. One pass over the bytes, so it needs no child of its own."""

import codecs
import re

from kb.domain.errors import FileCorrupt
from kb.domain.parsed import ParsedText

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# Control characters but tab and newline, and halves of surrogate pairs: Postgres or JSON refuse some of them.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u0080-\u0084\u0086-\u009f\ud800-\udfff]")


def parse(content: bytes) -> ParsedText:
    """Return the text as it is, but for line ends and control characters. Raises FileCorrupt."""
    return ParsedText(tidy(decode(content)))


def decode(content: bytes) -> str:
    """Decode text by its byte order mark, as UTF-8, or else as Windows-1252, which most other text is.

    Raises FileCorrupt when the text breaks the encoding that its byte order mark names.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            try:
                return content[len(mark) :].decode(encoding)
            except UnicodeDecodeError as error:
                raise FileCorrupt from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def tidy(text: str) -> str:
    """Return text with newlines for line ends and spaces for control characters."""
    return _UNPRINTABLE.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
