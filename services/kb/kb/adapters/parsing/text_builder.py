"""Puts text together block by block and remembers where headings begin."""

import re

from kb.adapters.parsing.plain import tidy
from kb.domain.parsed import Heading, ParsedText

_SPACES = re.compile(r"[^\S\n]+")


class TextBuilder:
    """Collects blocks of text with an empty line between them."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []
        self._page_starts: list[int] = []

    def add_block(self, text: str, *, heading_level: int = 0) -> None:
        """Add a paragraph; a heading when it has a level. Blocks without a visible character are dropped."""
        block = tidy(text).strip()
        if not block:
            return
        if self._parts:
            self._append("\n\n")
        if heading_level:
            self._headings.append(Heading(self._length, heading_level, _SPACES.sub(" ", block.replace("\n", " "))))
        self._append(block)

    def begin_page(self) -> None:
        """Let a page begin with the next block."""
        self._page_starts.append(self._length + 2 * bool(self._parts))

    def build(self) -> ParsedText:
        """Return what was collected."""
        text = "".join(self._parts)
        return ParsedText(text, [min(start, len(text)) for start in self._page_starts], self._headings)

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


def squeezed(text: str) -> str:
    """Return text with each run of white space as one space, as browsers show it."""
    return " ".join(text.split())
