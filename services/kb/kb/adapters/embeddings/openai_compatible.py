"""Any provider that speaks OpenAI's embeddings API: POST <base_url>/embeddings."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx

from chassis.boundary import entering_network
from kb.domain.errors import EmbeddingFailed
from kb.domain.ports import Vector

_BATCH = 64
_TIMEOUT = timedelta(seconds=30)


class OpenAiCompatibleEmbedder:
    """Embeds over HTTP, 64 texts a request. Retrying is the caller's: an ingest is a job that is run again."""

    def __init__(
        self, *, base_url: str, api_key: str, model: str, dimensions: int, nano_usd_per_million_tokens: int
    ) -> None:
        self.model = f"{model}/{dimensions}"
        self.nano_usd_per_million_tokens = nano_usd_per_million_tokens
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._body = {"model": model, "dimensions": dimensions, "encoding_format": "float"}
        self._dimensions = dimensions
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {}, timeout=_TIMEOUT.total_seconds()
        )

    async def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        """Return one vector a text, in order. Raises EmbeddingFailed."""
        vectors: list[Vector] = []
        for start in range(0, len(texts), _BATCH):
            vectors.extend(await self._embed(texts[start : start + _BATCH]))
        return vectors

    async def embed_query(self, text: str) -> Vector:
        """Return the vector of a query. Raises EmbeddingFailed."""
        return (await self._embed([text]))[0]

    async def _embed(self, texts: Sequence[str]) -> list[Vector]:
        entering_network("embeddings")
        try:
            reply = await self._client.post(self._url, json={**self._body, "input": list(texts)})
            reply.raise_for_status()
            rows = sorted(reply.json()["data"], key=lambda row: int(row["index"]))
            vectors = [self._checked(row["embedding"]) for row in rows]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EmbeddingFailed(model=self.model) from error
        if len(vectors) != len(texts):
            raise EmbeddingFailed(model=self.model)
        return vectors

    def _checked(self, embedding: Any) -> Vector:  # Any: what another process sent
        vector = [float(value) for value in embedding]
        length = sum(value * value for value in vector) ** 0.5
        if len(vector) != self._dimensions or length == 0:
            raise ValueError("not a vector of the model's dimensions")
        return [value / length for value in vector]
