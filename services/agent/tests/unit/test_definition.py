import json

import pytest

from agent.domain import ids
from agent.domain.definition import Definition, Limits, Parameters, Retrieval, ToolGrant, violations_of
from chassis.ids import new_id


def a_tool() -> str:
    return ids.TOOL.show(new_id())


class TestDefinition:
    def test_comes_back_from_json_as_it_was(self) -> None:
        definition = Definition(
            instructions="Be kind.",
            parameters=Parameters(temperature=0.5),
            knowledge_base_ids=("kb_1",),
            retrieval=Retrieval(mode="dense", top_k=3),
            tools=(ToolGrant(tool_id="tool_1", policy="ask"),),
            limits=Limits(max_steps=3, max_duration_seconds=2.5),
        )

        assert Definition.from_json(json.loads(json.dumps(definition.as_json()))) == definition

    def test_reads_what_an_older_version_stored(self) -> None:
        assert Definition.from_json({"instructions": "Hi"}) == Definition(instructions="Hi")


class TestViolationsOf:
    def test_accepts_what_can_run(self) -> None:
        base = ids.KNOWLEDGE_BASE.show(new_id())

        assert violations_of(Definition(knowledge_base_ids=(base,), tools=(ToolGrant(tool_id=a_tool()),))) == []

    def test_names_each_id_of_a_wrong_kind(self) -> None:
        definition = Definition(knowledge_base_ids=(a_tool(),), tools=(ToolGrant(tool_id="tool_x"),))

        fields = [violation.field for violation in violations_of(definition)]

        assert fields == ["definition.knowledge_base_ids[0]", "definition.tools[0].tool_id"]

    def test_refuses_a_tool_twice(self) -> None:
        tool = a_tool()

        violations = violations_of(Definition(tools=(ToolGrant(tool_id=tool), ToolGrant(tool_id=tool, policy="ask"))))

        assert [violation.rule for violation in violations] == ["unique"]

    @pytest.mark.parametrize("seconds", [0.5, 3601, -1])
    def test_refuses_a_duration_out_of_range(self, seconds: float) -> None:
        violations = violations_of(Definition(limits=Limits(max_duration_seconds=seconds)))

        assert [violation.field for violation in violations] == ["definition.limits.max_duration"]
