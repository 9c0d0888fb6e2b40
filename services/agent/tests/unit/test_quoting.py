from agent.domain.quoting import pick_quotes, sentences_of

from .factories import passages  # noqa: TID252


def stem(word: str) -> str:
    return word.rstrip("s")


class TestPickQuotes:
    def test_prefers_the_rare_word(self) -> None:
        found = passages("Penguins are birds. Ducks are birds.", "Birds fly. Only penguins in the antarctic huddle.")

        quotes = pick_quotes("Which birds huddle?", found, count=1, stem=stem)

        assert [(quote.index, quote.text) for quote in quotes] == [(2, "Only penguins in the antarctic huddle.")]

    def test_quotes_word_for_word(self) -> None:
        text = "First line\nThe price is $3.50 per unit!  Really. What about v1.2?"

        assert all(sentence in text for sentence in sentences_of(text))
        assert "The price is $3.50 per unit!" in sentences_of(text)

    def test_finds_nothing_without_a_shared_word(self) -> None:
        assert pick_quotes("What about quarks?", passages("Penguins huddle."), count=3, stem=stem) == []

    def test_ignores_words_that_every_question_has(self) -> None:
        assert pick_quotes("What is the of and?", passages("This is what the end of it is."), count=3, stem=stem) == []

    def test_quotes_a_sentence_once(self) -> None:
        found = passages("Penguins huddle.", "Penguins huddle.")

        assert len(pick_quotes("penguins", found, count=3, stem=stem)) == 1

    def test_prefers_the_passage_that_the_search_ranked_first(self) -> None:
        found = passages("Penguins swim well.", "Penguins swim fast.")

        assert pick_quotes("penguins swim", found, count=1, stem=stem)[0].index == 1
