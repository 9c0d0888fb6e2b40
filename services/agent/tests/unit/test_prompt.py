from agent.domain.definition import Definition
from agent.domain.prompt import number_passages, system_text, turns_of
from agent.domain.provider import AssistantTurn, ToolTurn, UserTurn
from agent.domain.steps import RUNNING

from .factories import a_call, a_hit, a_search, an_answer, passages  # noqa: TID252


class TestSystemText:
    def test_gives_numbered_passages_and_says_how_to_cite(self) -> None:
        text = system_text(Definition(instructions="Be brief.", knowledge_base_ids=("kb_1",)), passages("A.", "B."))

        assert text.startswith("Be brief.")
        assert "[2] Birds\nB." in text

    def test_speaks_of_no_passages_without_knowledge(self) -> None:
        assert "assage" not in system_text(Definition(instructions="Be brief."), [])


class TestTurnsOf:
    def test_tells_the_run_in_order(self) -> None:
        steps = [a_search(), an_answer(2, "Wait.", calls=["calculator"]), a_call(3, call_id="call_2_1")]

        turns = turns_of(history=[{"role": "assistant", "text": "Hi"}], text="2+2?", steps=steps)

        kinds = [type(turn) for turn in turns]
        assert kinds == [AssistantTurn, UserTurn, AssistantTurn, ToolTurn]

    def test_leaves_out_what_has_no_outcome(self) -> None:
        steps = [an_answer(1, calls=["a"]), a_call(2, call_id="call_1_1", state=RUNNING)]

        assert not any(isinstance(turn, ToolTurn) for turn in turns_of(history=[], text="x", steps=steps))


class TestNumberPassages:
    def test_numbers_as_the_lost_worker_did(self) -> None:
        again = a_call(3, call_id="call_2_1", name="knowledge_search")
        again.output["hits"] = [a_hit(document="doc_b").as_json(), a_hit(document="doc_c").as_json()]

        book = number_passages([a_search(1, a_hit(document="doc_a"), a_hit(document="doc_b")), again])

        assert [passage.hit.document_id for passage in book.all()] == ["doc_a", "doc_b", "doc_c"]
