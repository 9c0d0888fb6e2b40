"""Which sentences of the passages answer a question best, by words alone."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.domain.passages import Passage

_WORD = re.compile(r"\w+")
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")
_STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "all",
        "also",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "me",
        "my",
        "no",
        "not",
        "of",
        "on",
        "or",
        "our",
        "please",
        "shall",
        "should",
        "so",
        "some",
        "such",
        "tell",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)
# A sentence in a passage that the search ranked first counts this much more than one in the last.
_RANK_BONUS = 0.25
_LONGEST_QUOTE = 400

Stem = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Quote:
    """A sentence, word for word, and the number of its passage."""

    index: int
    text: str


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    passage: int
    sentence: str
    words: frozenset[str]


def pick_quotes(question: str, passages: Sequence[Passage], *, count: int, stem: Stem) -> list[Quote]:
    """Return up to `count` sentences that share the question's rarest words, best first; none when nothing is shared.

    A sentence scores the sum over shared stems of ln(1 + sentences / sentences with the stem), weighted up to
    1.25 for passages that the search ranked first. Equal scores keep the order of reading.
    """
    asked = _words(question, stem)
    candidates = [candidate for passage in passages for candidate in _candidates(passage, stem)]
    spread = Counter(word for candidate in candidates for word in candidate.words & asked)
    scored = [(_score(candidate, asked, spread, len(candidates), len(passages)), candidate) for candidate in candidates]
    best = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: -pair[0])
    return _distinct(best, count)


def _candidates(passage: Passage, stem: Stem) -> list[_Candidate]:
    return [
        _Candidate(passage=passage.index, sentence=sentence, words=_words(sentence, stem))
        for sentence in sentences_of(passage.hit.text)
    ]


def sentences_of(text: str) -> list[str]:
    """Cut a text at full stops and line ends. Sentences are slices of the text, at most 400 characters."""
    found = (sentence.strip() for sentence in _BETWEEN_SENTENCES.split(text))
    return [sentence[:_LONGEST_QUOTE] for sentence in found if _WORD.search(sentence)]


def _words(text: str, stem: Stem) -> frozenset[str]:
    return frozenset(stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS)


def _score(candidate: _Candidate, asked: frozenset[str], spread: Counter[str], sentences: int, passages: int) -> float:
    shared = sum(math.log(1 + sentences / spread[word]) for word in candidate.words & asked)
    return shared * (1 + _RANK_BONUS * (1 - (candidate.passage - 1) / max(passages, 1)))


def _distinct(best: Sequence[tuple[float, _Candidate]], count: int) -> list[Quote]:
    chosen: dict[str, Quote] = {}
    for _, candidate in best:
        chosen.setdefault(candidate.sentence, Quote(index=candidate.passage, text=candidate.sentence))
        if len(chosen) == count:
            break
    return list(chosen.values())
