"""Cutting extracted text into chunks that end where a reader would pause."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from kb.domain.errors import ChunkOverlapTooLarge
from kb.domain.parsed import ParsedText

DEFAULT_SIZE_TOKENS = 224
DEFAULT_OVERLAP_TOKENS = 32
SMALLEST_SIZE_TOKENS = 32

# How far back from its full size a chunk may end to meet a pause, as a share of the size.
_LOOK_BACK = 0.4

_PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]]*\s+|[。！？]")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chunking:
    """Size and overlap of chunks, in tokens of the embedding model."""

    size_tokens: int = DEFAULT_SIZE_TOKENS
    overlap_tokens: int = DEFAULT_OVERLAP_TOKENS

    def __post_init__(self) -> None:
        if self.overlap_tokens * 2 > self.size_tokens:
            raise ChunkOverlapTooLarge(size_tokens=self.size_tokens, overlap_tokens=self.overlap_tokens)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: `text` is exactly the characters [start, end) of the parsed text.

    `page` counts from 1, 0 without pages; both it and `heading_path` are those in force where the chunk begins.
    """

    ordinal: int
    start: int
    end: int
    text: str
    token_count: int
    page: int
    heading_path: tuple[str, ...]


def split(parsed: ParsedText, *, tokens: Sequence[Span], chunking: Chunking) -> list[Chunk]:
    """Split a text into overlapping chunks, in reading order.

    `tokens` holds the character span of each token, in order. A chunk has at most `size_tokens`; it ends before a
    heading, else at the end of a paragraph, else of a sentence, when there is one in its last 40 %. All tokens are
    covered, and the overlap is at most `overlap_tokens`.
    """
    pauses = _Pauses.of(parsed, tokens)
    paths = parsed.heading_paths()
    path_starts = [start for start, _ in paths]
    chunks: list[Chunk] = []
    for first, last in _windows(pauses, len(tokens), chunking):
        start, end = tokens[first][0], tokens[last - 1][1]
        heading = bisect_right(path_starts, start) - 1
        chunks.append(
            Chunk(
                ordinal=len(chunks),
                start=start,
                end=end,
                text=parsed.text[start:end],
                token_count=last - first,
                page=parsed.page_at(start),
                heading_path=paths[heading][1] if heading >= 0 else (),
            )
        )
    return chunks


def _windows(pauses: "_Pauses", count: int, chunking: Chunking) -> list[Span]:
    """Return the token ranges of the chunks, end exclusive."""
    windows: list[Span] = []
    first = 0
    while first < count:
        last = _end_of_window(pauses, first, count, chunking.size_tokens)
        windows.append((first, last))
        if last == count:
            break
        # Never overlap across a heading: what stands above it belongs to another section.
        first = last if pauses.is_heading(last) else max(last - chunking.overlap_tokens, first + 1)
    return windows


def _end_of_window(pauses: "_Pauses", first: int, count: int, size: int) -> int:
    full = first + size
    if full >= count:
        return count
    earliest = full - int(size * _LOOK_BACK)
    return pauses.last_between(earliest, full) or full


@dataclass(frozen=True, slots=True)
class _Pauses:
    """Indexes of tokens before which a reader pauses, strongest kind first; each list is sorted."""

    kinds: tuple[list[int], list[int], list[int]]

    @classmethod
    def of(cls, parsed: ParsedText, tokens: Sequence[Span]) -> "_Pauses":
        starts = [start for start, _ in tokens]

        def before(offsets: Sequence[int]) -> list[int]:
            return [bisect_left(starts, offset) for offset in offsets]

        return cls(
            (
                before([heading.start for heading in parsed.headings]),
                before([match.end() for match in _PARAGRAPH_END.finditer(parsed.text)]),
                before([match.end() for match in _SENTENCE_END.finditer(parsed.text)]),
            )
        )

    def is_heading(self, token: int) -> bool:
        headings = self.kinds[0]
        position = bisect_left(headings, token)
        return position < len(headings) and headings[position] == token

    def last_between(self, earliest: int, latest: int) -> int | None:
        """Return the last pause in [earliest, latest] of the strongest kind that has one there."""
        for kind in self.kinds:
            position = bisect_right(kind, latest) - 1
            if position >= 0 and kind[position] >= earliest:
                return kind[position]
        return None
