"""JSON Schema 2020-12: what a tool takes and what it answers.

Schemas are their authors' programs: patterns that backtrack, references that multiply. Checking has a limit in time.
"""

import re
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, TypeVar

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from chassis.errors import Violation
from tool.domain.errors import ToolSchemaInvalid

NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
MAX_VIOLATIONS = 20
CHECKING_SECONDS = 0.2
"""Of processor time, so that a busy machine refuses nothing that an idle one takes."""
LONGEST_PATTERN = 1000

# An empty registry: whatever a schema refers to, nothing is fetched.
_ALONE: Registry[Any] = Registry()
_RULE = "json_schema"
T = TypeVar("T")


class _TooLong(Exception):
    """Checking took longer than it may."""


def check_schema(schema: Mapping[str, Any], *, field: str, of_object: bool) -> None:
    """Raise ToolSchemaInvalid unless `schema` is valid and, for arguments, describes an object.

    References to other documents are refused: a schema stands alone.
    """
    try:
        _in_time(lambda: Draft202012Validator.check_schema(dict(schema)))
    except SchemaError as error:
        raise _invalid(_path(field, error), error.message[:300]) from None
    except (_TooLong, RecursionError, OverflowError):
        # The last is what compiling a pattern raises that counts too far.
        raise _invalid(field, "is too large to check") from None
    if of_object and schema.get("type") != "object":
        raise _invalid(f"{field}.type", 'must be "object"')
    _check_references(schema, field)
    for pattern in _patterns(schema):
        _check_pattern(pattern, field)


def violations(value: object, schema: Mapping[str, Any], *, field: str) -> list[Violation]:
    """Return what in `value` does not satisfy `schema`, at most 20, each with its path below `field`.

    A value that cannot be checked in time, or a schema that refers to itself without end, is a violation, too.
    """
    validator = Draft202012Validator(dict(schema), registry=_ALONE)
    try:
        errors = _in_time(lambda: list(islice(validator.iter_errors(value), MAX_VIOLATIONS)))
    except (_TooLong, RecursionError):
        return [Violation(field, "takes too long to check against the schema", _RULE)]
    except (Unresolvable, ArithmeticError, re.error):
        return [Violation(field, "cannot be checked against the schema", _RULE)]
    return [Violation(_path(field, error), error.message[:300], str(error.validator)) for error in errors]


def _invalid(field: str, description: str) -> ToolSchemaInvalid:
    return ToolSchemaInvalid(violations=[Violation(field, description, _RULE)])


def _path(field: str, error: ValidationError | SchemaError) -> str:
    return ".".join([field, *(str(part) for part in error.absolute_path)])


def _check_references(schema: Mapping[str, Any], field: str) -> None:
    resolver = _ALONE.with_resource("", DRAFT202012.create_resource(dict(schema))).resolver()
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise ToolSchemaInvalid(
                violations=[Violation(field, f"refers to another document: {reference[:100]}", "$ref")]
            )
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ToolSchemaInvalid(
                violations=[Violation(field, f"refers to what it does not have: {reference[:100]}", "$ref")]
            ) from None


def _check_pattern(pattern: str, field: str) -> None:
    if len(pattern) > LONGEST_PATTERN:
        raise _invalid(field, f"has a pattern of more than {LONGEST_PATTERN} characters")
    try:
        _in_time(lambda: re.compile(pattern))
    except (_TooLong, RecursionError, OverflowError, re.error):
        raise _invalid(field, f"has a pattern that is no regular expression: {pattern[:100]}") from None


def _references(node: object) -> Iterable[str]:
    for key, value in _members(node):
        if key in ("$ref", "$dynamicRef") and isinstance(value, str):
            yield value


def _patterns(node: object) -> Iterable[str]:
    for key, value in _members(node):
        if key == "pattern" and isinstance(value, str):
            yield value
        elif key == "patternProperties" and isinstance(value, Mapping):
            yield from value


def _members(node: object) -> Iterable[tuple[str, object]]:
    """Yield the members of all objects in a schema."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield key, value
            yield from _members(value)
    elif isinstance(node, list):
        for value in node:
            yield from _members(value)


def _in_time(check: Callable[[], T]) -> T:
    """Return what `check` does. Raises _TooLong when the time is over.

    An alarm ends even a regular expression, but arrives in the main thread only; elsewhere there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        return check()

    def interrupt(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, CHECKING_SECONDS)
        try:
            return check()
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.signal(signal.SIGVTALRM, before)
