"""PDF: the text layer, page by page. Scans without one give an empty text."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from pypdf import PdfReader
from pypdf.errors import PdfReadError

from kb.adapters.parsing.text_builder import TextBuilder
from kb.domain.errors import FileCorrupt
from kb.domain.parsed import Heading, ParsedText


def parse(content: bytes) -> ParsedText:
    """Return the text of all pages, with where each begins and the outline as headings. Raises FileCorrupt."""
    reader = PdfReader(BytesIO(content), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise FileCorrupt
    builder = TextBuilder()
    for page in reader.pages:
        builder.begin_page()
        builder.add_block(page.extract_text())
    parsed = builder.build()
    return ParsedText(parsed.text, parsed.page_starts, _outline(reader, parsed))


def _outline(reader: PdfReader, parsed: ParsedText) -> list[Heading]:
    """Return the outline as headings at their pages; a broken outline spoils no document."""
    try:
        entries = list(_flattened(reader.outline, level=1))
        headings = [
            Heading(
                _offset(parsed, reader.get_destination_page_number(entry), str(entry.title)), level, str(entry.title)
            )
            for level, entry in entries
        ]
    except (PdfReadError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        return []
    return sorted(headings, key=lambda heading: heading.start)


def _flattened(outline: list[Any], *, level: int) -> Iterator[tuple[int, Any]]:  # Any: pypdf nests lists in lists
    for entry in outline:
        if isinstance(entry, list):
            yield from _flattened(entry, level=level + 1)
        else:
            yield level, entry


def _offset(parsed: ParsedText, page_index: int | None, title: str) -> int:
    if page_index is None or page_index < 0:
        raise IndexError(page_index)
    starts = [*parsed.page_starts, len(parsed.text)]
    found = parsed.text.find(title, starts[page_index], starts[page_index + 1])
    return found if found >= 0 else starts[page_index]
