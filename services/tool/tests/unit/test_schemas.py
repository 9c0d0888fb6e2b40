"""JSON Schemas of tools."""

import pytest

from tool.domain.errors import ToolSchemaInvalid
from tool.domain.schemas import check_schema, violations


class TestCheckSchema:
    def test_accepts_an_object(self) -> None:
        check_schema(
            {"type": "object", "properties": {"a": {"type": "string"}}}, field="tool.input_schema", of_object=True
        )

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "strin"},
            {"type": "object", "properties": {"a": {"minimum": "x"}}},
            {"type": "array"},
            {"type": "object", "properties": {"a": {"$ref": "https://example.org/schema.json"}}},
        ],
    )
    def test_refuses_what_is_no_schema_of_an_object_that_stands_alone(self, schema: dict[str, object]) -> None:
        with pytest.raises(ToolSchemaInvalid) as refusal:
            check_schema(schema, field="tool.input_schema", of_object=True)

        assert refusal.value.violations[0].field.startswith("tool.input_schema")


class TestViolations:
    def test_names_each_path(self) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "integer"}}}}}

        [found] = violations({"a": {"b": "x"}}, schema, field="arguments")

        assert (found.field, found.rule) == ("arguments.a.b", "type")

    def test_stops_at_twenty(self) -> None:
        schema = {"type": "array", "items": {"type": "integer"}}

        assert len(violations(["x"] * 100, schema, field="arguments")) == 20
