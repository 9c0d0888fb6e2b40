"""Bad requests, made from what openapi.json says of a good one: each breaks one rule and knows which."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

JSON = dict[str, Any]
Path = tuple[str | int, ...]

NUL = "a\0b"
DEEP: Any = json.loads("[" * 100 + "]" * 100)
A_WRONG_TYPE: dict[str, list[Any]] = {
    "string": [17, True, {"a": 1}, ["x"]],
    "integer": ["1", 1.5, True, [], {}],
    "number": ["0.5", True, [], {}],
    "boolean": ["true", 1, [], {}],
    "array": ["x", 17, {"0": "x"}],
    "object": ["x", 17, True, ["x"]],
}
HUGE = 10**30


@dataclass(frozen=True)
class Abuse:
    """A body that must be refused because of the field at `field`; empty when it is the whole body."""

    name: str
    body: Any
    field: str = ""


def shown(path: Path) -> str:
    """Return the path of a field as violations name it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def with_value(body: JSON, path: Path, value: Any) -> JSON:
    """Return a copy of a body with another value at a path; what is missing on the way is made."""
    changed = deepcopy(body)
    node: Any = changed
    for step, following in pairwise(path):
        if isinstance(node, dict):
            node = node.setdefault(step, [None] if following == 0 else {})
        else:
            node[step] = {} if node[step] is None else node[step]
            node = node[step]
    node[path[-1]] = value
    return changed


class Abuser:
    """Makes bad bodies for operations of one openapi.json."""

    def __init__(self, description: JSON) -> None:
        self._schemas: JSON = description["components"]["schemas"]

    def schema(self, operation: JSON) -> JSON:
        """Return the schema of an operation's JSON body."""
        return self._resolved(operation["requestBody"]["content"]["application/json"]["schema"])

    def bodies(self, schema: JSON, good: JSON) -> Iterator[Abuse]:
        """Yield a body for each rule of each field, otherwise like `good`, and some with a field too many."""
        yield Abuse("unknown field", {**good, "no_such_field": 1}, "no_such_field")
        yield Abuse("proto's JSON name", {**good, "noSuchField": None}, "noSuchField")
        for name in schema.get("required", []):
            yield Abuse(f"{name} missing", {key: value for key, value in good.items() if key != name}, name)
            yield Abuse(f"{name} null", {**good, name: None}, name)
        for path, field in self._fields(schema, ()):
            for what, value in self._bad_values(str(path[-1]), field):
                yield Abuse(f"{shown(path)}: {what}", with_value(good, path, value), shown(path))

    def _resolved(self, schema: JSON) -> JSON:
        """Return a schema without references and without the null that it may be."""
        if "$ref" in schema:
            return self._resolved(self._schemas[schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return self._resolved(next(one for one in schema["anyOf"] if one.get("type") != "null"))
        kind = schema.get("type")
        return {**schema, "type": kind[0]} if isinstance(kind, list) else schema

    def _fields(self, schema: JSON, above: Path) -> Iterator[tuple[Path, JSON]]:
        for name, raw in schema.get("properties", {}).items():
            field = self._resolved(raw)
            yield (*above, name), field
            if field.get("type") == "array":
                item = self._resolved(field["items"])
                yield (*above, name, 0), item
                yield from self._fields(item, (*above, name, 0))
            yield from self._fields(field, (*above, name))

    def _bad_values(self, name: str, schema: JSON) -> Iterator[tuple[str, Any]]:
        kind = schema.get("type", "")
        for value in A_WRONG_TYPE.get(kind, []):
            yield f"{type(value).__name__} for {kind}", value
        yield from getattr(self, f"_bad_{kind}s", lambda _: iter(()))(schema)
        if name.endswith(("_id", "_ids")) and kind == "string" and name != "call_id":
            yield "garbage id", "../../etc"

    @staticmethod
    def _bad_strings(schema: JSON) -> Iterator[tuple[str, Any]]:
        yield "U+0000", NUL
        if "maxLength" in schema:
            yield "too long", "x" * (schema["maxLength"] + 1)
        if schema.get("minLength"):
            yield "empty", ""
        if "enum" in schema:
            yield "unknown value", "nonsense"
            yield "other case", max(schema["enum"]).swapcase()
        if "pattern" in schema:
            yield "pattern", "~ not ~"
        for text in {"email": ("nobody", "a@b@c"), "date-time": ("yesterday", "2026-13-45T00:00:00Z", "")}.get(
            schema.get("format", ""), ()
        ):
            yield f"no {schema['format']}", text

    @staticmethod
    def _bad_integers(schema: JSON) -> Iterator[tuple[str, Any]]:
        yield "too small", schema["minimum"] - 1
        yield "too large", schema["maximum"] + 1
        yield "beyond 64 bits", HUGE
        yield "beyond 64 bits, negative", -HUGE

    @staticmethod
    def _bad_numbers(schema: JSON) -> Iterator[tuple[str, Any]]:
        for bound, beyond in (("minimum", -1e-9), ("exclusiveMinimum", 0), ("maximum", 1e-6), ("exclusiveMaximum", 0)):
            if bound in schema:
                yield bound, schema[bound] + beyond

    @staticmethod
    def _bad_arrays(schema: JSON) -> Iterator[tuple[str, Any]]:
        yield "null in it", [None]
        if "maxItems" in schema:
            yield "too many", [f"x{number}" for number in range(schema["maxItems"] + 1)]
        if schema.get("minItems"):
            yield "too few", []
        if schema.get("uniqueItems"):
            yield "one twice", ["kb.*", "kb.*"]

    @staticmethod
    def _bad_objects(schema: JSON) -> Iterator[tuple[str, Any]]:
        if "properties" in schema:
            yield "unknown field in it", {"no_such_field": 1}
        elif "additionalProperties" not in schema:
            yield "U+0000 in a key", {NUL: 1}
            yield "U+0000 in a text", {"a": [{"b": NUL}]}
            yield "an integer that JSON readers round", {"a": HUGE}
            yield "too deep", {"a": json.loads("[" * 40 + "]" * 40)}


def raw_bodies() -> Iterator[tuple[str, bytes, str, int]]:
    """Yield name, bytes, content type and status of bodies that are no JSON object at all."""
    for name, text in {
        "array": b"[]",
        "null": b"null",
        "text": b'"x"',
        "number": b"1",
    }.items():
        yield name, text, "application/json", 422
    for name, text in {
        "cut": b'{"a": ',
        "trailing comma": b'{"a": 1,}',
        "two values": b"{} {}",
        "single quotes": b"{'a': 1}",
        "NaN": b'{"a": NaN}',
        "infinity": b'{"a": Infinity}',
        "not UTF-8": b'{"a": "\xff\xfe"}',
        "UTF-16": '{"a": 1}'.encode("utf-16"),
        "lone surrogate, escaped": b'{"a": "\\ud800"}',
        "lone surrogate, bytes": b'{"a": "\xed\xa0\x80"}',
        "bare NUL": b'{"a": "\0"}',
        "only NULs": b"\0" * 64,
        "a key twice": b'{"a": 1, "a": 1}',
        "a key twice, escaped": b'{"a": 1, "\\u0061": 1}',
        "a key twice, inside": b'{"a": {"b": 1, "b": 2}}',
        "depth 100": b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
        "depth 200,000": b"[" * 200_000,
    }.items():
        yield name, text, "application/json", 400
    yield "2 MiB", b'{"a": "' + b"x" * 2 * 1024 * 1024 + b'"}', "application/json", 413
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense", ""):
        yield f"as {media_type or 'nothing'}", b'{"a": 1}', media_type, 415
