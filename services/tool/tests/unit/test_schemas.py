"""JSON Schemas of tools."""

import time
from typing import Any

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
            {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
            {"type": "object", "properties": {"a": {"$dynamicRef": "#nowhere"}}},
            {"type": "object", "properties": {"a": {"pattern": "("}}},
            {"type": "object", "properties": {"a": {"pattern": "a" * 1001}}},
            {"type": "object", "properties": {"a": {"pattern": "a{99999999999}"}}},
            {"type": "object", "patternProperties": {"*": {}}},
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


DOUBLING = {str(step): {"allOf": [{"$ref": f"#/$defs/{step + 1}"}] * 2} for step in range(40)} | {"40": {}}


class TestHostileSchemas:
    """Valid schemas that would keep a process busy for years."""

    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            ({"properties": {"a": {"pattern": "^(a|aa)+$"}}}, {"a": "a" * 100 + "!"}),
            ({"patternProperties": {"^(a|aa)+$": {}}}, {"a" * 100 + "!": 1}),
            ({"allOf": [{"$ref": "#"}]}, {}),
            ({"$ref": "#/$defs/0", "$defs": DOUBLING}, {}),
            ({"properties": {"a": {"uniqueItems": True}}}, {"a": [{"n": number} for number in range(5000)]}),
            ({"properties": {"a": {"multipleOf": 1e-308}}}, {"a": "x" * 10}),
        ],
    )
    def test_are_given_up_in_time(self, schema: dict[str, Any], value: dict[str, Any]) -> None:
        check_schema({"type": "object", **schema}, field="tool.input_schema", of_object=True)
        begun = time.monotonic()

        violations(value, {"type": "object", **schema}, field="arguments")

        assert time.monotonic() - begun < 2

    def test_are_violations(self) -> None:
        [found] = violations({"a": "a" * 100 + "!"}, {"properties": {"a": {"pattern": "^(a|aa)+$"}}}, field="arguments")

        assert found.field == "arguments"

    def test_fetch_nothing(self) -> None:
        schema = {"$id": "http://127.0.0.1:9/schema", "properties": {"a": {"$ref": "other"}}}

        [found] = violations({"a": 1}, schema, field="arguments")

        assert found.description == "cannot be checked against the schema"
