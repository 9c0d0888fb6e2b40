"""HTML: what a reader of the page would see, block by block."""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from kb.adapters.parsing.plain import decode
from kb.adapters.parsing.text_builder import TextBuilder, squeezed
from kb.domain.parsed import ParsedText

_UNSEEN = ("script", "style", "noscript", "template", "head", "svg", "iframe", "object", "select", "button")
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_HEADING = re.compile(r"h[1-6]")
_CHARSET = re.compile(rb"""<meta[^>]+charset=["']?([A-Za-z0-9_-]{1,40})""", re.IGNORECASE)


def parse(content: bytes) -> ParsedText:
    """Return the visible text of a page, with h1 to h6 as headings. Raises FileCorrupt."""
    tree = LexborHTMLParser(_decoded(content))
    tree.strip_tags(list(_UNSEEN))
    writer = _Writer()
    if tree.root is not None:
        writer.write(tree.root)
    return writer.finish()


def _decoded(content: bytes) -> str:
    declared = _CHARSET.search(content[:1024])
    if declared is not None:
        try:
            return content.decode(declared.group(1).decode())
        except (LookupError, UnicodeDecodeError):
            pass  # A page that lies about its charset is read like one that says nothing.
    return decode(content)


class _Writer:
    """Walks the tree without recursion: hostile pages nest deeper than Python's stack."""

    def __init__(self) -> None:
        self._builder = TextBuilder()
        self._line: list[str] = []
        self._heading_level = 0
        self._preformatted = 0

    def write(self, root: LexborNode) -> None:
        stack: list[tuple[LexborNode, bool]] = [(root, True)]
        while stack:
            node, is_opening = stack.pop()
            if not is_opening:
                self._close(node.tag or "")
                continue
            if node.is_text_node:
                self._line.append(node.text_content or "")
                continue
            self._open(node.tag or "")
            stack.append((node, False))
            children = list(node.iter(include_text=True))
            stack.extend((child, True) for child in reversed(children))

    def finish(self) -> ParsedText:
        self._end_block()
        return self._builder.build()

    def _open(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._end_block()
        if _HEADING.fullmatch(tag):
            self._heading_level = int(tag[1])
        elif tag == "pre":
            self._preformatted += 1
        elif tag in ("br", "td", "th"):
            self._line.append("\n" if tag == "br" and self._preformatted else " ")

    def _close(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._end_block()
        if _HEADING.fullmatch(tag):
            self._heading_level = 0
        elif tag == "pre":
            self._preformatted -= 1

    def _end_block(self) -> None:
        text = "".join(self._line)
        self._line.clear()
        self._builder.add_block(text if self._preformatted else squeezed(text), heading_level=self._heading_level)
