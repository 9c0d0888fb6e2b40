"""Embedders: the local model for real, and a provider that speaks OpenAI's API."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kb.adapters.embeddings.local import LocalEmbedder, LocalTokenizer
from kb.adapters.embeddings.openai_compatible import OpenAiCompatibleEmbedder
from kb.domain.errors import EmbeddingFailed
from kb.domain.ports import Vector


def cosine(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def local() -> LocalEmbedder:
    return LocalEmbedder(LocalTokenizer(), threads=2)


class TestTokenizer:
    def test_gives_spans_of_characters(self) -> None:
        text = "Ünïcödé herons 🦩 wait"

        spans = LocalTokenizer().spans(text)

        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert [start for start, _ in spans] == sorted(start for start, _ in spans)
        assert set("".join(text[start:end] for start, end in spans)) == set(text) - {" "}

    def test_counts_a_long_text_as_its_parts(self) -> None:
        text = "herons wait for fish " * 6_000

        spans = LocalTokenizer().spans(text)

        assert len(spans) == 6_000 * len(LocalTokenizer().spans("herons wait for fish "))
        assert all(text[start:end].strip() for start, end in spans)


class TestLocalEmbedder:
    async def test_puts_like_meanings_close(self, local: LocalEmbedder) -> None:
        question = await local.embed_query("Which bird catches fish?")
        heron, tax = await local.embed_passages(["The heron hunts in rivers.", "Income tax is due in May."])

        assert cosine(question, heron) > cosine(question, tax) + 0.2

    async def test_gives_vectors_of_length_one_in_order(self, local: LocalEmbedder) -> None:
        texts = [f"Text number {number} " + "word " * number for number in range(12)]

        together = await local.embed_passages(texts)

        assert all(len(vector) == 384 and cosine(vector, vector) == pytest.approx(1, abs=1e-5) for vector in together)
        alone = [(await local.embed_passages([text]))[0] for text in texts]
        assert together == alone

    async def test_reads_a_long_text_to_its_end(self, local: LocalEmbedder) -> None:
        beginning = "taxes and income " * 100
        (short, long) = await local.embed_passages([beginning, beginning + "herons catch fish in rivers " * 100])
        question = await local.embed_query("herons catching fish")

        assert cosine(question, long) > cosine(question, short) + 0.1


class _Provider(BaseHTTPRequestHandler):
    """Answers as OpenAI's embeddings API does: out of order, vectors not of length 1."""

    replies: dict[str, Any] = {}  # noqa: RUF012 - what the tests say it should answer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).replies["asked"] = (self.path, self.headers["authorization"], body)
        status = type(self).replies.get("status", 200)
        data = [{"index": index, "embedding": [float(len(text)), 0, 0]} for index, text in enumerate(body["input"])]
        content = json.dumps({"data": data[::-1][: type(self).replies.get("count")]}).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def provider() -> Iterator[str]:
    _Provider.replies = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/"
    server.shutdown()


def remote(base_url: str, *, dimensions: int = 3) -> OpenAiCompatibleEmbedder:
    return OpenAiCompatibleEmbedder(
        base_url=base_url, api_key="key", model="m", dimensions=dimensions, nano_usd_per_million_tokens=20
    )


class TestOpenAiCompatibleEmbedder:
    async def test_asks_in_batches_and_keeps_the_order(self, provider: str) -> None:
        texts = ["x" * (number + 1) for number in range(130)]

        vectors = await remote(provider).embed_passages(texts)

        assert vectors == [[1.0, 0.0, 0.0]] * 130
        path, authorization, body = _Provider.replies["asked"]
        assert (path, authorization) == ("/v1/embeddings", "Bearer key")
        assert (body["model"], body["dimensions"], len(body["input"])) == ("m", 3, 2)

    @pytest.mark.parametrize("trouble", [{"status": 500}, {"status": 401}, {"count": 1}])
    async def test_says_when_the_provider_fails(self, provider: str, trouble: dict[str, int]) -> None:
        _Provider.replies.update(trouble)

        with pytest.raises(EmbeddingFailed):
            await remote(provider).embed_passages(["a", "b"])

    async def test_refuses_vectors_of_another_size(self, provider: str) -> None:
        with pytest.raises(EmbeddingFailed):
            await remote(provider, dimensions=4).embed_query("a")

    async def test_says_when_nobody_answers(self) -> None:
        with pytest.raises(EmbeddingFailed):
            await remote("http://127.0.0.1:9").embed_query("a")
