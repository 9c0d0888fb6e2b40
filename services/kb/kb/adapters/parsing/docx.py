"""DOCX: paragraphs and tables in the order of the document."""

import re
import zipfile
from io import BytesIO

import docx
from docx.table import Table
from docx.text.paragraph import Paragraph

from kb.adapters.parsing.text_builder import TextBuilder
from kb.domain.errors import FileCorrupt, ParseMemory
from kb.domain.parsed import ParsedText

_HEADING_STYLE = re.compile(r"heading (\d)", re.IGNORECASE)
# What the parts of a document may unpack to. A megabyte of zip can hold a gigabyte of zeros.
_LARGEST_UNPACKED_BYTES = 256 * 1024 * 1024


def parse(content: bytes) -> ParsedText:
    """Return paragraphs and table rows as text, with heading styles as headings. Raises FileCorrupt, ParseMemory."""
    _check_unpacked_size(content)
    builder = TextBuilder()
    for block in docx.Document(BytesIO(content)).iter_inner_content():
        if isinstance(block, Table):
            _add_table(builder, block)
        else:
            builder.add_block(block.text, heading_level=_heading_level(block))
    return builder.build()


def _check_unpacked_size(content: bytes) -> None:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
    except zipfile.BadZipFile as error:
        raise FileCorrupt from error
    if unpacked > _LARGEST_UNPACKED_BYTES:
        raise ParseMemory


def _heading_level(paragraph: Paragraph) -> int:
    name = (paragraph.style.name if paragraph.style is not None else None) or ""
    match = _HEADING_STYLE.fullmatch(name)
    if match is not None:
        return int(match.group(1))
    return int(name == "Title")


def _add_table(builder: TextBuilder, table: Table) -> None:
    rows = ("\t".join(cell.text.strip() for cell in row.cells) for row in table.rows)
    builder.add_block("\n".join(row for row in rows if row.strip()))
