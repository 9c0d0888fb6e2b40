"""Search quality through the public API: nDCG@10 of the three modes on a corpus with relevance judgements.

The corpus is a folder in BEIR's layout: corpus.jsonl (`_id`, `title`, `text`), queries.jsonl (`_id`, `text`) and
qrels.tsv (query, document, grade). Each document is one text in a new knowledge base with default settings; results
are counted by document, each at its best chunk.
"""

import json
import math
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from benchmarks.table import Table
from fleet.demo.client import Client

MODES = ("lexical", "dense", "hybrid")
CUT = 10
CLIENTS = 4
READY_TIMEOUT_SECONDS = 1800

Judgements = dict[str, dict[str, int]]


def measure(url: str, corpus: str) -> Table | None:
    """Ingest the corpus, ask every query in every mode, and return nDCG@10 and times."""
    folder = Path(corpus)
    if not corpus or not (folder / "qrels.tsv").is_file():
        print("retrieval: left out, CORPUS names no folder with corpus.jsonl, queries.jsonl and qrels.tsv")
        return None
    client = _signed_up(url)
    begun = time.monotonic()
    knowledge_base_id, names = _ingest(client, folder)
    ingest_seconds = time.monotonic() - begun
    judgements = _judgements(folder)
    queries = [query for query in _lines(folder / "queries.jsonl") if query["_id"] in judgements]
    table = Table(
        title="Search quality",
        columns=("mode", f"nDCG@{CUT}", "p50 ms", "p95 ms"),
        note=f"{len(names)} documents, {len(queries)} queries, ingested in {ingest_seconds:.0f} s "
        f"({len(names) / ingest_seconds:.0f} documents/s). Bar on Cranfield: hybrid ≥ 0.41, above both parts.",
    )
    for mode in MODES:
        scores, times = [], []
        for query in queries:
            begun = time.monotonic()
            ranked = _search(client, knowledge_base_id, str(query["text"]), mode)
            times.append((time.monotonic() - begun) * 1000)
            scores.append(ndcg([names[document] for document in ranked], judgements[query["_id"]]))
        times.sort()
        table.rows.append(
            (
                mode,
                f"{sum(scores) / len(scores):.4f}",
                f"{times[len(times) // 2]:.1f}",
                f"{times[int(len(times) * 0.95)]:.1f}",
            )
        )
    return table


def ndcg(ranked: list[str], grades: dict[str, int], *, cut: int = CUT) -> float:
    """Return the normalized discounted cumulative gain, [0, 1], with linear gains (Järvelin and Kekäläinen, 2002)."""
    gain = sum(grades.get(name, 0) / math.log2(place + 2) for place, name in enumerate(ranked[:cut]))
    best = sum(grade / math.log2(place + 2) for place, grade in enumerate(sorted(grades.values(), reverse=True)[:cut]))
    return gain / best if best else 0.0


def _signed_up(url: str) -> Client:
    anonymous = Client(url, timeout_seconds=120)
    email, password = f"bench-{uuid4().hex[:12]}@example.org", f"correct horse {uuid4().hex}"
    anonymous.post("/v1/auth/sign-up", {"email": email, "password": password, "organization_name": "Benchmarks"})
    session = anonymous.post("/v1/auth/log-in", {"email": email, "password": password})
    person = anonymous.holding(str(session["access_token"]))
    # A key outlives the ten minutes of an access token.
    key = person.post("/v1/api-keys", {"display_name": "bench", "scopes": ["*"], "requests_per_minute": 60000})
    return person.holding(str(key["secret"]))


def _ingest(client: Client, folder: Path) -> tuple[str, dict[str, str]]:
    """Create a knowledge base of the corpus and wait for it; return its id and the corpus' names by document id."""
    base = client.post("/v1/knowledge-bases", {"display_name": f"Corpus {uuid4().hex[:8]}"})
    path = f"/v1/knowledge-bases/{base['id']}/documents"
    documents = [line for line in _lines(folder / "corpus.jsonl") if str(line["text"]).strip()]

    def create(document: dict[str, str]) -> tuple[str, str]:
        created = client.post(
            path, {"title": str(document["title"])[:500] or document["_id"], "text": str(document["text"])}
        )
        return str(created["id"]), str(document["_id"])

    with ThreadPoolExecutor(CLIENTS) as pool:
        names = dict(pool.map(create, documents))
    until = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < until:
        shown = client.get(f"/v1/knowledge-bases/{base['id']}")
        if int(shown["ready_document_count"]) >= len(names):
            return str(base["id"]), names
        time.sleep(0.5)
    raise TimeoutError(f"the corpus was not ready in {READY_TIMEOUT_SECONDS} s")


def _search(client: Client, knowledge_base_id: str, query: str, mode: str) -> list[str]:
    """Return ids of documents, best first, each once."""
    body = {"knowledge_base_ids": [knowledge_base_id], "query": query, "mode": mode, "top_k": 50}
    hits = client.post("/v1/knowledge-bases:search", body)["hits"]
    return list(dict.fromkeys(str(hit["document_id"]) for hit in hits))[:CUT]


def _judgements(folder: Path) -> Judgements:
    judgements: Judgements = defaultdict(dict)
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) > 0:
            judgements[query][document] = int(grade)
    return dict(judgements)


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]
