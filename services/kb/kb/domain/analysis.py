"""From text to the terms that lexical search compares: words in lower case, without stop words, stemmed.

Stemming is Snowball's (snowballstem.org). Documents and queries must take the same path, so a change here asks for a
new index.
"""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import snowballstemmer

from kb.domain.stop_words import STOP_WORDS

STEMMERS = {
    "en": "english",
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "it": "italian",
    "pt": "portuguese",
    "nl": "dutch",
    "sv": "swedish",
    "da": "danish",
    "no": "norwegian",
    "fi": "finnish",
    "ru": "russian",
}
LANGUAGES = (*STEMMERS, "simple")
DEFAULT_LANGUAGE = "en"

# A longer run is no word; its beginning still tells it apart.
_LONGEST_TERM = 64

# Scripts without spaces between words: each character is a term, so that any part of a phrase is found.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
_local = threading.local()


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text that counts for search: its term and the characters [start, end) it stands at."""

    term: str
    start: int
    end: int


def words(text: str, *, language: str) -> Iterator[Word]:
    """Yield the words of a text that are no stop words, in reading order."""
    stop_words = STOP_WORDS.get(language, frozenset())
    for match in _WORD.finditer(text):
        written = match.group().lower()
        if written not in stop_words:
            yield Word(stem(written[:_LONGEST_TERM], language), match.start(), match.end())


def term_frequencies(text: str, *, language: str) -> Counter[str]:
    """Count the terms of a text. Their sum is its length for BM25."""
    return Counter(word.term for word in words(text, language=language))


@lru_cache(maxsize=200_000)
def stem(word: str, language: str) -> str:
    """Return the stem of a lower-case word; the word itself in languages without a stemmer."""
    if language not in STEMMERS:
        return word
    stemmed: str = _stemmer(language).stemWord(word)
    return stemmed


def _stemmer(language: str) -> "snowballstemmer.stemmer":
    # A stemmer keeps its word in itself while it works, so each thread has its own.
    stemmers = _local.__dict__.setdefault("stemmers", {})
    if language not in stemmers:
        stemmers[language] = snowballstemmer.stemmer(STEMMERS[language])
    return stemmers[language]
