"""Passages that a run has found, numbered for the model and for citations."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage as a search found it: `text` is the document's text from character `start` to `end`, end exclusive."""

    knowledge_base_id: str
    document_id: str
    chunk_id: str
    document_title: str
    version: int
    page: int
    start: int
    end: int
    text: str
    score: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A hit with its number in the run, from 1."""

    index: int
    hit: Hit


class PassageBook:
    """Numbers the passages of a run in the order in which they were found first."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[str, int, int, int], Passage] = {}

    def add(self, hits: Iterable[Hit]) -> list[Passage]:
        """Number the hits; a passage that was found before keeps its number."""
        return [self._numbered(hit) for hit in hits]

    def _numbered(self, hit: Hit) -> Passage:
        place = (hit.document_id, hit.version, hit.start, hit.end)
        if place not in self._by_place:
            self._by_place[place] = Passage(index=len(self._by_place) + 1, hit=hit)
        return self._by_place[place]

    def get(self, index: int) -> Passage | None:
        """Return the passage of a number, or None when there is none."""
        return next((passage for passage in self._by_place.values() if passage.index == index), None)

    def all(self) -> tuple[Passage, ...]:
        return tuple(self._by_place.values())


def numbered_text(passages: Iterable[Passage]) -> str:
    """Write passages as a model reads them: a number in brackets, the title, the text."""
    return "\n\n".join(f"[{passage.index}] {passage.hit.document_title}\n{passage.hit.text}" for passage in passages)
