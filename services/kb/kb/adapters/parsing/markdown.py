"""Markdown. The text stays as written, so offsets are those of the source; only its headings are looked for."""

from itertools import pairwise

from markdown_it import MarkdownIt

from kb.adapters.parsing import plain
from kb.domain.parsed import Heading, ParsedText


def parse(content: bytes) -> ParsedText:
    """Return the source with its headings. Raises FileCorrupt."""
    text = plain.tidy(plain.decode(content))
    return ParsedText(text, headings=_headings(text))


def _headings(text: str) -> list[Heading]:
    line_starts = _line_starts(text)
    # Without the inline rules: emphasis and links cost time, and say nothing about sections.
    tokens = MarkdownIt("commonmark").disable(["inline"]).parse(text)
    headings = []
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open" and opening.map is not None and content.content.strip():
            headings.append(Heading(line_starts[opening.map[0]], int(opening.tag[1:]), content.content.strip()))
    return headings


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    return starts
