"""What a parser finds in a file: text, and where its pages and headings begin."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading at `start`, a character offset of the text; `level` from 1, the outermost."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class ParsedText:
    """Extracted text with its landmarks, in reading order.

    `page_starts` holds the character offset at which each page begins, the first page's first; empty without pages.
    """

    text: str
    page_starts: Sequence[int] = ()
    headings: Sequence[Heading] = field(default=())

    def page_at(self, offset: int) -> int:
        """Return the page of a character, from 1; 0 without pages."""
        return bisect_right(self.page_starts, offset)

    def heading_paths(self) -> list[tuple[int, tuple[str, ...]]]:
        """Return, for each heading, where it begins and the titles from the outermost down to it."""
        open_headings: list[Heading] = []
        paths = []
        for heading in self.headings:
            while open_headings and open_headings[-1].level >= heading.level:
                open_headings.pop()
            open_headings.append(heading)
            paths.append((heading.start, tuple(above.title for above in open_headings)))
        return paths
