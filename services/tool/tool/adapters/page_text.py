"""The text of a web page, by the standard library's tolerant parser."""

import re
from html.parser import HTMLParser

_HIDDEN = {"script", "style", "noscript", "template", "svg", "head"}
_BLOCKS = {
    "address",
    "article",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
}
_BLOCKS |= {"header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"}
_CHARSET = re.compile(r"charset=[\"']?([\w-]+)", re.IGNORECASE)


def text_of(body: bytes, *, content_type: str) -> tuple[str, str]:
    """Return title and text of a page: for HTML what a reader sees, a line a block; any other text as it is."""
    found = _CHARSET.search(content_type) or _CHARSET.search(body[:2048].decode("ascii", errors="ignore"))
    try:
        text = body.decode(found[1] if found else "utf-8", errors="replace")
    except LookupError:
        text = body.decode("utf-8", errors="replace")
    if "html" not in content_type and not text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
        return "", text
    page = _Page()
    page.feed(text)
    lines = (" ".join(line.split()) for line in "".join(page.parts).splitlines())
    return " ".join(page.title.split()), "\n".join(line for line in lines if line)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title = ""
        self._hidden = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        self._hidden += tag in _HIDDEN
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._hidden:
            self.parts.append(data)
