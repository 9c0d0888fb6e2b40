"""What kb wants of the outside world; `adapters/` has who provides it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kb.domain.chunking import Span
from kb.domain.parsed import ParsedText

Vector = list[float]


class Embedder(Protocol):
    """Turns texts into vectors of length 1, so that their inner product is the cosine."""

    model: str
    """Names model and dimensions for good: vectors of one name compare with each other only."""
    nano_usd_per_million_tokens: int
    """What embedding costs, in billionths of a US dollar."""

    async def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        """Return one vector a text, in order. Raises EmbeddingFailed."""
        ...

    async def embed_query(self, text: str) -> Vector:
        """Return the vector of a query, ahead of passages that wait. Raises EmbeddingFailed."""
        ...


class Tokenizer(Protocol):
    """Counts as the embedding model reads."""

    def spans(self, text: str) -> list[Span]:
        """Return the character span of each token, in order; without those a model adds around a text."""
        ...


class Parser(Protocol):
    """Extracts text from a file that nobody vouches for."""

    async def parse(self, path: Path, *, media_type: str) -> ParsedText:
        """Return the text of a file.

        Raises FileCorrupt, ParseTimeout, ParseMemory, UnsupportedType, EmptyDocument or TextTooLarge.
        """
        ...
