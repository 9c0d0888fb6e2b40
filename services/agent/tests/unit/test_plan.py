import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.definition import Definition, Limits
from agent.domain.errors import CostLimitReached, StepLimitReached, TokenLimitReached
from agent.domain.plan import AskModel, CallTool, Complete, Retrieve, TakeUp, check_limits, next_of
from agent.domain.steps import RUNNING, Step, Usage

from .factories import a_call, a_search, an_answer  # noqa: TID252

KNOWING = Definition(knowledge_base_ids=("kb_1",))
BARE = Definition()


class TestNextOf:
    def test_searches_first_when_there_is_knowledge(self) -> None:
        assert isinstance(next_of(KNOWING, []), Retrieve)
        assert isinstance(next_of(BARE, []), AskModel)

    def test_asks_the_model_after_the_search(self) -> None:
        assert isinstance(next_of(KNOWING, [a_search()]), AskModel)

    def test_is_complete_with_an_answer_that_asks_for_nothing(self) -> None:
        assert isinstance(next_of(BARE, [an_answer(1, "Hello")]), Complete)

    def test_makes_the_calls_in_order_and_asks_again(self) -> None:
        steps = [an_answer(1, calls=["a", "b"])]
        first = next_of(BARE, steps)
        steps.append(a_call(2, call_id="call_1_1"))
        second = next_of(BARE, steps)
        steps.append(a_call(3, call_id="call_1_2"))

        assert isinstance(first, CallTool)
        assert first.call.call_id == "call_1_1"
        assert isinstance(second, CallTool)
        assert second.call.call_id == "call_1_2"
        assert isinstance(next_of(BARE, steps), AskModel)

    def test_takes_up_what_has_no_outcome(self) -> None:
        begun = a_call(2, call_id="call_1_1", state=RUNNING)

        assert next_of(BARE, [an_answer(1, calls=["a"]), begun]) == TakeUp(begun)

    @given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.booleans())
    def test_makes_each_call_once_whatever_the_model_asks_for(self, calls: list[int], has_knowledge: bool) -> None:
        definition = KNOWING if has_knowledge else BARE
        wanted, steps = [*calls, 0], list[Step]()
        asked, made = 0, list[str]()
        while not isinstance(todo := next_of(definition, steps), Complete):
            number = len(steps) + 1
            match todo:
                case Retrieve():
                    steps.append(a_search(number))
                case AskModel():
                    steps.append(an_answer(number, calls=["tool"] * wanted[asked]))
                    asked += 1
                case CallTool(call):
                    made.append(call.call_id)
                    steps.append(a_call(number, call_id=call.call_id))

        assert asked == next(index for index, count in enumerate(wanted) if count == 0) + 1
        assert len(made) == len(set(made)) == sum(wanted[:asked])


class TestCheckLimits:
    def test_lets_a_run_go_on_below_its_limits(self) -> None:
        check_limits(
            Limits(max_tokens=10, max_cost_nano_usd=10), steps=49, usage=Usage(input_tokens=9, cost_nano_usd=9)
        )

    def test_allows_fifty_steps_by_default(self) -> None:
        with pytest.raises(StepLimitReached):
            check_limits(Limits(), steps=50, usage=Usage())

    def test_counts_tokens_both_ways(self) -> None:
        with pytest.raises(TokenLimitReached):
            check_limits(Limits(max_tokens=10), steps=1, usage=Usage(input_tokens=5, output_tokens=5))

    def test_counts_cost(self) -> None:
        with pytest.raises(CostLimitReached):
            check_limits(Limits(max_cost_nano_usd=10), steps=1, usage=Usage(cost_nano_usd=10))
