"""Terms: what lexical search compares."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.domain.analysis import LANGUAGES, STEMMERS, stem, term_frequencies, words
from kb.domain.stop_words import STOP_WORDS


class TestWords:
    def test_leaves_out_stop_words_and_stems_the_rest(self) -> None:
        found = term_frequencies("The herons were waiting; a heron waits", language="en")

        assert dict(found) == {"heron": 2, "wait": 2}

    def test_knows_where_each_word_stands(self) -> None:
        text = "Die Reiher fischen"

        assert [text[word.start : word.end] for word in words(text, language="de")] == ["Reiher", "fischen"]

    def test_stems_in_the_language_of_the_base(self) -> None:
        assert term_frequencies("häuser", language="de") == term_frequencies("hauses", language="de")
        assert term_frequencies("häuser", language="simple") != term_frequencies("hauses", language="simple")

    def test_finds_parts_of_phrases_in_scripts_without_spaces(self) -> None:
        assert set(term_frequencies("水边", language="en")) <= set(term_frequencies("苍鹭站在水边", language="en"))

    def test_splits_identifiers_at_underscores(self) -> None:
        assert set(term_frequencies("wing_span", language="simple")) == {"wing", "span"}

    @given(text=st.text(), language=st.sampled_from(LANGUAGES))
    def test_takes_any_text(self, text: str, language: str) -> None:
        found = list(words(text, language=language))

        assert all(0 <= word.start < word.end <= len(text) and word.term for word in found)
        assert term_frequencies(text, language=language).total() == len(found)

    def test_stems_alike_in_many_threads(self) -> None:
        written = [beginning + ending for beginning in ("run", "jump", "fli") for ending in ("ning", "ed", "es")]
        alone = [stem.__wrapped__(word, "en") for word in written]

        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(lambda word: stem.__wrapped__(word, "en"), written * 50))

        assert together == alone * 50


@pytest.mark.parametrize("language", STEMMERS)
def test_every_language_has_stop_words_in_lower_case(language: str) -> None:
    assert len(STOP_WORDS[language]) > 50
    assert all(word == word.lower() for word in STOP_WORDS[language])
