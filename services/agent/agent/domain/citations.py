"""Citations: marks such as [2] in an answer, mapped to the passages they name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.domain.passages import Passage, PassageBook

_MARK = re.compile(r"\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]")
_NUMBER = re.compile(r"\d+")
# A mark that is cut by the end of what has arrived is at most this long.
_LONGEST_MARK = 64


@dataclass(frozen=True, kw_only=True)
class CitationMark:
    """A passage cited in the answer from `start` to `end`, in characters of the answer, end exclusive."""

    passage: Passage
    start: int
    end: int

    def as_json(self) -> dict[str, Any]:
        """Return the fields of definable.agent.v1.Citation."""
        hit = self.passage.hit
        return {
            "document_id": hit.document_id,
            "knowledge_base_id": hit.knowledge_base_id,
            "document_title": hit.document_title,
            "version": hit.version,
            "page": hit.page,
            "start": hit.start,
            "end": hit.end,
            "text": hit.text,
            "answer_start": self.start,
            "answer_end": self.end,
            "index": self.passage.index,
        }


class CitationScanner:
    """Finds citation marks in an answer that arrives in pieces, each mark once, however it is cut."""

    def __init__(self, passages: PassageBook, *, offset: int) -> None:
        self._passages = passages
        self._pending = ""
        self._position = offset

    def feed(self, text: str) -> Iterator[CitationMark]:
        """Return the marks that are complete with this piece. Numbers that no passage has are text, not marks."""
        self._pending += text
        scanned = 0
        for match in _MARK.finditer(self._pending):
            yield from self._marks(match)
            scanned = match.end()
        self._keep_from(self._open_mark(scanned))

    def _marks(self, match: re.Match[str]) -> Iterator[CitationMark]:
        for number in dict.fromkeys(_NUMBER.findall(match[1])):
            if passage := self._passages.get(int(number)):
                yield CitationMark(
                    passage=passage, start=self._position + match.start(), end=self._position + match.end()
                )

    def _open_mark(self, scanned: int) -> int:
        bracket = self._pending.rfind("[", scanned)
        is_open = bracket >= 0 and "]" not in self._pending[bracket:] and len(self._pending) - bracket <= _LONGEST_MARK
        return bracket if is_open else len(self._pending)

    def _keep_from(self, start: int) -> None:
        self._pending = self._pending[start:]
        self._position += start
