"""Searching: who finds what, and how it is ranked."""

import random
from collections.abc import Sequence
from uuid import UUID

import pytest

from chassis.rpc.caller import Actor, Caller
from chassis.testing import Authority, caller_matrix, refused
from definable.kb.v1 import search_service_pb2 as pb
from definable.options.v1.options_pb2 import Rank
from kb.domain import ids
from kb.domain.analysis import term_frequencies
from kb.domain.bm25 import Collection, inverse_frequency, saturation
from kb.domain.fusion import Candidate, Mode, rank
from kb.domain.postings import passage
from kb.repositories.search import QueryTerm, SearchRepository

from .running import SOME_ID, Kb  # noqa: TID252

DENSE, LEXICAL, HYBRID = pb.SEARCH_MODE_DENSE, pb.SEARCH_MODE_LEXICAL, pb.SEARCH_MODE_HYBRID
TEXTS = {
    "Herons": "Herons stand in shallow water and wait for fish.",
    "Owls": "Owls hunt mice at night and hear very well.",
    "Tax": "Income tax returns are due in May; late filing costs a fee.",
    "Boats": "A sailing boat needs wind; its hull lies deep in the water.",
    "Bread": "Bread dough rises when yeast turns sugar into gas.",
}


@pytest.fixture(scope="module")
async def library(kb: Kb, authority: Authority) -> tuple[Caller, str]:
    """A base with a handful of texts, and who owns it."""
    reader = authority.caller()
    base = await kb.a_base(reader)
    for title, text in TEXTS.items():
        await kb.a_ready_text(reader, base.id, text, title=title)
    return reader, base.id


def titles(hits: Sequence[pb.SearchHit]) -> list[str]:
    return [hit.document_title for hit in hits]


class TestModes:
    async def test_dense_finds_what_is_meant(self, kb: Kb, library: tuple[Caller, str]) -> None:
        reader, base = library

        hits = await kb.search(reader, [base], "birds of prey that are active after dark", mode=DENSE)

        assert hits[0].document_title == "Owls"
        assert len(hits) == len(TEXTS)
        assert [hit.score for hit in hits] == sorted((hit.dense_score for hit in hits), reverse=True)
        assert not any(hit.HasField("lexical_score") or hit.highlights for hit in hits)

    async def test_lexical_finds_what_is_written(self, kb: Kb, library: tuple[Caller, str]) -> None:
        reader, base = library

        hits = await kb.search(reader, [base], "the water and a hull", mode=LEXICAL)

        assert titles(hits) == ["Boats", "Herons"]
        assert [hit.score for hit in hits] == [hit.lexical_score for hit in hits]
        assert not any(hit.HasField("dense_score") for hit in hits)
        marked = [hits[0].text[mark.start : mark.end] for mark in hits[0].highlights]
        assert marked == ["hull", "water"]

    async def test_hybrid_finds_what_either_finds(self, kb: Kb, library: tuple[Caller, str]) -> None:
        reader, base = library

        for query in ("birds of prey after dark", "the water and a hull", "yeast"):
            either = {
                hit.chunk_id for mode in (DENSE, LEXICAL) for hit in await kb.search(reader, [base], query, mode=mode)
            }
            hits = await kb.search(reader, [base], query, mode=HYBRID, top_k=100)
            assert {hit.chunk_id for hit in hits} == either

    async def test_hybrid_is_what_one_gets_unasked(self, kb: Kb, library: tuple[Caller, str]) -> None:
        reader, base = library

        unasked = await kb.search(reader, [base], "water birds")

        assert unasked == await kb.search(reader, [base], "water birds", mode=HYBRID, top_k=10)
        assert all(hit.HasField("dense_score") and hit.HasField("lexical_score") for hit in unasked)
        assert all(0 <= hit.score <= 1 for hit in unasked)

    async def test_gives_no_more_and_nothing_worse_than_asked_for(self, kb: Kb, library: tuple[Caller, str]) -> None:
        reader, base = library
        everything = await kb.search(reader, [base], "water", mode=DENSE)

        assert await kb.search(reader, [base], "water", mode=DENSE, top_k=2) == everything[:2]
        bar = everything[2].score
        assert await kb.search(reader, [base], "water", mode=DENSE, score_threshold=bar) == everything[:3]

    @pytest.mark.parametrize("query", ["the and of", "?!", "zzzzqqq", "x" * 4000, "' OR 1=1 --", "%_\\"])
    async def test_takes_any_query(self, kb: Kb, library: tuple[Caller, str], query: str) -> None:
        reader, base = library

        assert await kb.search(reader, [base], query, mode=LEXICAL) == []
        assert len(await kb.search(reader, [base], query)) == len(TEXTS)

    async def test_finds_nothing_in_an_empty_base(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)

        for mode in (DENSE, LEXICAL, HYBRID):
            assert await kb.search(owner, [base.id], "water", mode=mode) == []


class TestBases:
    async def test_are_ranked_as_one_collection(self, kb: Kb, owner: Caller) -> None:
        whole = await kb.a_base(owner)
        halves = [await kb.a_base(owner), await kb.a_base(owner, language="en")]
        for number, (title, text) in enumerate(TEXTS.items()):
            for base in (whole, halves[number % 2]):
                await kb.a_ready_text(owner, base.id, text, title=title)

        for mode in (DENSE, LEXICAL, HYBRID):
            one = await kb.search(owner, [whole.id], "herons in the water", mode=mode)
            many = await kb.search(owner, [half.id for half in halves], "herons in the water", mode=mode)
            assert titles(many) == titles(one)
            assert [hit.score for hit in many] == pytest.approx([hit.score for hit in one])

    async def test_are_searched_in_their_language(self, kb: Kb, owner: Caller) -> None:
        german = await kb.a_base(owner, language="de")
        await kb.a_ready_text(owner, german.id, "Die Häuser stehen am Wasser.", title="Häuser")

        assert titles(await kb.search(owner, [german.id], "des Hauses", mode=LEXICAL)) == ["Häuser"]

    async def test_must_exist_for_the_caller(self, kb: Kb, owner: Caller, authority: Authority) -> None:
        base = await kb.a_base(owner)

        async def search(caller: Caller | None) -> pb.SearchHit:
            await kb.search(caller, [base.id], "water")
            return pb.SearchHit()

        member, viewer = authority.colleague(owner, Rank.MEMBER), authority.colleague(owner, Rank.VIEWER)
        assert await caller_matrix(search, authority, permitted=member, low=viewer) == {
            "nobody": "UNAUTHENTICATED",
            "stranger": "KNOWLEDGE_BASE_NOT_FOUND",
            "low": "PERMISSION_DENIED",
            "permitted": "OK",
        }
        with refused("KNOWLEDGE_BASE_NOT_FOUND"):
            await kb.search(owner, [base.id, f"kb_{SOME_ID}"], "water")

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"base_ids": []}, "VALIDATION_FAILED"),
            ({"base_ids": [f"kb_{SOME_ID}"] * 2}, "VALIDATION_FAILED"),
            ({"base_ids": [f"kb_{SOME_ID}{number}" for number in range(21)]}, "VALIDATION_FAILED"),
            ({"base_ids": ["kb_nothing"]}, "INVALID_ID"),
            ({"base_ids": [f"doc_{SOME_ID}"]}, "INVALID_ID"),
            ({"query": ""}, "VALIDATION_FAILED"),
            ({"query": "x" * 4001}, "VALIDATION_FAILED"),
            ({"top_k": 101}, "VALIDATION_FAILED"),
            ({"top_k": -1}, "VALIDATION_FAILED"),
            ({"mode": 9}, "VALIDATION_FAILED"),
        ],
    )
    async def test_bad_input_is_refused(self, kb: Kb, owner: Caller, fields: dict[str, object], reason: str) -> None:
        request = {"base_ids": [f"kb_{SOME_ID}"], "query": "water", **fields}

        with refused(reason):
            await kb.search(owner, **request)  # type: ignore[arg-type]  # bad input is the point

    async def test_no_other_organization_finds_a_canary(self, kb: Kb, owner: Caller, stranger: Caller) -> None:
        canary = "Zyzzyvas sing about the canary 4711."
        mine, theirs = await kb.a_base(owner), await kb.a_base(stranger)
        await kb.a_ready_text(owner, mine.id, canary, title="Canary")
        await kb.a_ready_text(stranger, theirs.id, "Nothing of that kind is here.", title="Plain")

        for mode in (DENSE, LEXICAL, HYBRID):
            assert "Canary" in titles(await kb.search(owner, [mine.id], canary, mode=mode))
            assert "Canary" not in titles(await kb.search(stranger, [theirs.id], canary, mode=mode))


WORDS = [f"w{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(120)]


@pytest.fixture(scope="module")
async def corpus(kb: Kb, authority: Authority) -> tuple[Caller, str, dict[str, str]]:
    """Texts of words that are frequent as words are: the second half as often as the first, and so on."""
    chance = random.Random(11)
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    reader = authority.caller()
    base = await kb.a_base(reader, language="simple", chunking={"size_tokens": 64, "overlap_tokens": 0})
    texts = {}
    for number in range(40):
        text = ". ".join(" ".join(chance.choices(WORDS, weights, k=12)) for _ in range(chance.randint(1, 6)))
        texts[(await kb.a_text(reader, base.id, text, title=f"t{number}")).id] = text
    for document_id in texts:
        await kb.ended(reader, document_id, state=5)
    return reader, base.id, texts


def queries() -> list[str]:
    chance = random.Random(5)
    return [" ".join(chance.sample(WORDS, chance.randint(1, 6))) for _ in range(25)] + [f"{WORDS[0]} {WORDS[-1]}"]


class TestBm25:
    async def test_equals_a_reference_over_all_chunks(self, kb: Kb, corpus: tuple[Caller, str, dict[str, str]]) -> None:
        reader, base, _ = corpus
        chunks = {hit.chunk_id: hit for hit in await kb.search(reader, [base], WORDS[0], mode=DENSE, top_k=100)}
        assert len(chunks) < 100, "the reference must see every chunk"

        for query in queries():
            expected = _reference(query, chunks)
            hits = await kb.search(reader, [base], query, mode=LEXICAL, top_k=100)
            assert {hit.chunk_id: hit.score for hit in hits} == pytest.approx(expected)

    async def test_pruned_results_equal_exact_ones(self, kb: Kb, corpus: tuple[Caller, str, dict[str, str]]) -> None:
        reader, base, _ = corpus
        pruned_queries = 0

        for query in queries():
            exact, _ = await _lexical(kb, reader, base, query, budget=10**9)
            pruned, statements = await _lexical(kb, reader, base, query, budget=1)
            best = rank(exact, mode=Mode.LEXICAL, top_k=10, threshold=None)
            same = rank(pruned, mode=Mode.LEXICAL, top_k=10, threshold=None)
            assert [one.chunk_id for one in same] == [one.chunk_id for one in best]
            assert [one.score for one in same] == pytest.approx([one.score for one in best])
            pruned_queries += statements == 1

        assert pruned_queries, "no query was answered without all terms finding: nothing was tested"

    async def test_hybrid_scores_do_not_depend_on_pruning(
        self, kb: Kb, corpus: tuple[Caller, str, dict[str, str]]
    ) -> None:
        reader, base, _ = corpus
        vector = [0.1] * 384

        for query in queries()[:8]:
            exact, _ = await _lexical(kb, reader, base, query, budget=10**9, mode=Mode.HYBRID, vector=vector)
            pruned, _ = await _lexical(kb, reader, base, query, budget=1, mode=Mode.HYBRID, vector=vector)
            scores = {one.chunk_id: (one.dense, one.lexical) for one in exact}
            for one in pruned:
                assert (one.dense, one.lexical) == pytest.approx(scores[one.chunk_id])


class _CountingSearch(SearchRepository):
    """Counts how often candidates were asked for: twice when pruning had to be given up."""

    asked = 0

    async def _rows(self, mode: Mode, parameters: object) -> Sequence[object]:
        self.asked += 1
        return await super()._rows(mode, parameters)  # type: ignore[arg-type]  # passed on as it came


async def _lexical(
    kb: Kb,
    reader: Caller,
    base: str,
    query: str,
    *,
    budget: int,
    mode: Mode = Mode.LEXICAL,
    vector: list[float] | None = None,
) -> tuple[list[Candidate], int]:
    base_id = ids.KNOWLEDGE_BASE.parse(base)
    counted = term_frequencies(query, language="simple").items()
    terms = [QueryTerm(base_id, term, position, frequency) for position, (term, frequency) in enumerate(counted)]
    assert isinstance(reader.organization_id, UUID)
    async with kb.acquire.as_organization(reader.organization_id, Actor.service("kb")) as work:
        search = _CountingSearch(work.session, work.organization_id, postings_budget=budget)
        found = await search.candidates(mode=mode, bases=[base_id], terms=terms, vector=vector, top_k=10)
    return found, search.asked


def _reference(query: str, chunks: dict[str, pb.SearchHit]) -> dict[str, float]:
    """BM25 as the papers write it, over texts in memory."""
    counted = {
        chunk_id: term_frequencies(
            passage(_Passage(hit.text), title=hit.document_title),  # type: ignore[arg-type]  # only its text is read
            language="simple",
        )
        for chunk_id, hit in chunks.items()
    }
    collection = Collection(len(counted), sum(terms.total() for terms in counted.values()))
    scores = dict.fromkeys(counted, 0.0)
    for term in term_frequencies(query, language="simple"):
        containing = sum(term in terms for terms in counted.values())
        weight = inverse_frequency(chunk_count=collection.chunk_count, containing=containing)
        for chunk_id, terms in counted.items():
            share = saturation(frequency=terms[term], length=terms.total(), mean_length=collection.mean_length)
            scores[chunk_id] += weight * share
    return {chunk_id: score for chunk_id, score in scores.items() if score}


class _Passage:
    def __init__(self, text: str) -> None:
        self.text = text
