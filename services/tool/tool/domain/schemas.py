"""JSON Schema 2020-12: what a tool takes and what it answers."""

from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from chassis.errors import Violation
from tool.domain.errors import ToolSchemaInvalid

NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
MAX_VIOLATIONS = 20


def check_schema(schema: Mapping[str, Any], *, field: str, of_object: bool) -> None:
    """Raise ToolSchemaInvalid unless `schema` is valid and, for arguments, describes an object.

    References to other documents are refused: a schema stands alone.
    """
    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        raise ToolSchemaInvalid(
            violations=[Violation(_path(field, error), error.message[:300], "json_schema")]
        ) from None
    if of_object and schema.get("type") != "object":
        raise ToolSchemaInvalid(violations=[Violation(f"{field}.type", 'must be "object"', "json_schema")])
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise ToolSchemaInvalid(
                violations=[Violation(field, f"refers to another document: {reference[:100]}", "$ref")]
            )


def violations(value: object, schema: Mapping[str, Any], *, field: str) -> list[Violation]:
    """Return what in `value` does not satisfy `schema`, at most 20, each with its path below `field`."""
    errors = Draft202012Validator(dict(schema)).iter_errors(value)
    return [
        Violation(_path(field, error), error.message[:300], str(error.validator))
        for error, _ in zip(errors, range(MAX_VIOLATIONS), strict=False)
    ]


def _path(field: str, error: ValidationError | SchemaError) -> str:
    return ".".join([field, *(str(part) for part in error.absolute_path)])


def _references(node: object) -> Iterable[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
