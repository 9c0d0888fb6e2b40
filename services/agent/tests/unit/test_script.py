import pytest

from agent.domain.provider import ToolRequest
from agent.domain.script import Turn, read_script, without_script

FENCED = """Do this:
```script
{"delay_ms": 20, "turns": [
  {"tool": "calculator", "arguments": {"expression": "2+2"}},
  {"calls": [{"tool": "a"}, {"tool": "b"}]},
  {"say": "Done."}
]}
```
"""


class TestReadScript:
    def test_reads_one_turn_for_each_question(self) -> None:
        script = read_script(FENCED)

        assert script is not None
        assert script.turns == (
            Turn(calls=(ToolRequest(name="calculator", arguments={"expression": "2+2"}),)),
            Turn(calls=(ToolRequest(name="a", arguments={}), ToolRequest(name="b", arguments={}))),
            Turn(say="Done."),
        )
        assert script.delay is not None
        assert script.delay.total_seconds() == 0.02

    def test_reads_lines(self) -> None:
        script = read_script('What is it?\n/tool calculator {"expression": "2+2"}\n/tool current_time\n')

        assert script is not None
        assert [call.name for turn in script.turns for call in turn.calls] == ["calculator", "current_time"]

    def test_keeps_arguments_that_are_no_object_as_none(self) -> None:
        script = read_script("/tool calculator 2+2")

        assert script is not None
        assert script.turns[0].calls[0].arguments is None

    @pytest.mark.parametrize(
        "block",
        ["{", "3", '[{"no": 1}]', '{"turns": 3}', '{"delay_ms": "soon"}', '{"delay_ms": 1e300}', "[" * 100_000],
    )
    def test_says_when_a_block_is_not_understood(self, block: str) -> None:
        script = read_script(f"```script\n{block}\n```")

        assert script is not None
        assert "not understood" in script.problem

    def test_finds_none_in_an_ordinary_message(self) -> None:
        assert read_script("Use the /tool please, `script` it.\n```python\nprint()\n```") is None

    def test_is_no_part_of_the_question(self) -> None:
        assert without_script(FENCED + "\n/tool a\nWhy?") == "Do this:\n\n\n\nWhy?"
