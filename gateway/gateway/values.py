"""Single JSON values ↔ what protobuf holds: scalars, enums and the well-known types."""

import base64
import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import ValidationFailed, Violation

Json = Any  # what orjson.loads returns: a recursive union that mypy can't narrow usefully
Write = Callable[[Any], Json]
Check = Callable[[Json, str, "Problems"], Any]
Fill = Callable[[Any, Json, str, "Problems"], bool]
F = FieldDescriptor

MAX_INTEGER: Final = 2**53  # the largest that every JSON reader keeps exact
MAX_VIOLATIONS: Final = 20
# protobuf refuses to decode more than 100 levels, and a level of free-form JSON takes three of them.
MAX_FREE_DEPTH: Final = 28
REFUSED: Final = object()
INTEGER_RANGES: Final = {
    F.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    F.CPPTYPE_UINT32: (0, 2**32 - 1),
    F.CPPTYPE_INT64: (-MAX_INTEGER, MAX_INTEGER),
    F.CPPTYPE_UINT64: (0, MAX_INTEGER),
}
_FLOAT32_MAX: Final = 3.4028235e38  # as its shortest text says it; the exact value is a little less
_FLOAT32: Final = struct.Struct("<f")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UnsupportedType(Exception):
    """A contract uses a message type that has no JSON form here."""


_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


class Problems:
    """The violations found in one request."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def add(self, field: str, description: str, rule: str) -> None:
        """Note a violation; beyond the twentieth they are dropped."""
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(Violation(field=field[:200], description=description, rule=rule))

    def raise_if_any(self) -> None:
        """Raise ValidationFailed when there are violations."""
        if self.violations:
            raise ValidationFailed(self.violations)


def enum_names(enum: EnumDescriptor) -> dict[int, str]:
    """Return the values that mean something as JSON has them: SEARCH_MODE_HYBRID of SearchMode is "hybrid".

    A zero named `*_UNSPECIFIED` is left out: JSON leaves the field out or has null.
    """
    prefix = _WORD_START.sub("_", enum.name).upper() + "_"
    named = [value for value in enum.values if value.number or not value.name.endswith("UNSPECIFIED")]
    return {value.number: value.name.removeprefix(prefix).lower() for value in named}


def join(at: str, name: str) -> str:
    """Return the path of a field below another."""
    return f"{at}.{name}" if at else name


def scalar_writer(field: FieldDescriptor) -> Write | None:
    """Return how a field that is no message is written, None for as it is."""
    if field.enum_type:
        names = enum_names(field.enum_type)
        # A number that this contract doesn't know yet is shown as a number, not hidden.
        return lambda value: names.get(value) or (str(value) if value else None)
    if field.type == F.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode()
    return _shortest_float if field.type == F.TYPE_FLOAT else None


def _shortest_float(value: float) -> float:
    """Return the float with the fewest digits that is this value in 32 bits: 0.1, not 0.10000000149011612."""
    if not math.isfinite(value):
        return value
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if abs(short) <= _FLOAT32_MAX and _FLOAT32.unpack(_FLOAT32.pack(short))[0] == value:
            return short
    return float(f"{value:.9g}")


def _write_timestamp(stamp: Timestamp) -> str:
    whole = (_EPOCH + timedelta(seconds=stamp.seconds)).isoformat()[:19]
    return whole + _fraction(stamp.nanos) + "Z"


def _fraction(nanos: int) -> str:
    if not nanos:
        return ""
    digits = f".{nanos:09d}"
    return digits[:4] if nanos % 1_000_000 == 0 else digits[:7] if nanos % 1_000 == 0 else digits


def _write_duration(duration: Duration) -> str:
    sign = "-" if duration.seconds < 0 or duration.nanos < 0 else ""
    return f"{sign}{abs(duration.seconds)}{_fraction(abs(duration.nanos))}s"


def write_struct(struct: Any) -> dict[str, Json]:
    """Write a Struct as the JSON object it stands for."""
    return {key: _write_value(value) for key, value in struct.fields.items()}


def _write_value(value: Any) -> Json:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= MAX_INTEGER else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return write_struct(value.struct_value)
    return [_write_value(item) for item in value.list_value.values] if kind == "list_value" else None


WRITERS: Final[Mapping[str, Write]] = {
    "google.protobuf.Timestamp": _write_timestamp,
    "google.protobuf.Duration": _write_duration,
    "google.protobuf.FieldMask": lambda mask: ",".join(mask.paths),
    "google.protobuf.Struct": write_struct,
    "google.protobuf.Value": _write_value,
    "google.protobuf.ListValue": lambda items: [_write_value(item) for item in items.values],
    "google.protobuf.Empty": lambda _: {},
}


def scalar_checker(field: FieldDescriptor) -> Check:
    """Return the function that turns JSON into a value of a field that is no message, or notes why not."""
    if field.enum_type:
        return _enum_checker(field.enum_type)
    if field.cpp_type in INTEGER_RANGES:
        return _integer_checker(*INTEGER_RANGES[field.cpp_type])
    if field.type == F.TYPE_BYTES:
        return _check_bytes
    if field.cpp_type == F.CPPTYPE_STRING:
        return _check_string
    if field.cpp_type == F.CPPTYPE_BOOL:
        return _check_bool
    return _number_checker(_FLOAT32_MAX if field.type == F.TYPE_FLOAT else math.inf)


def _enum_checker(enum: EnumDescriptor) -> Check:
    numbers = {name: number for number, name in enum_names(enum).items()}
    allowed = "must be one of " + ", ".join(numbers)

    def check(value: Json, at: str, problems: Problems) -> Any:
        if type(value) is str and value in numbers:
            return numbers[value]
        problems.add(at, allowed, "enum")
        return REFUSED

    return check


def _integer_checker(low: int, high: int) -> Check:
    def check(value: Json, at: str, problems: Problems) -> Any:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            problems.add(at, "must be an integer", "type")
        elif not low <= value <= high:
            problems.add(at, f"must be between {low} and {high}", "range")
        else:
            return value
        return REFUSED

    return check


def _number_checker(limit: float) -> Check:
    def check(value: Json, at: str, problems: Problems) -> Any:
        if type(value) is not float and type(value) is not int:
            problems.add(at, "must be a number", "type")
        elif not -limit <= value <= limit or not math.isfinite(value):
            problems.add(at, "must be a finite number in the range of its type", "range")
        else:
            return float(value)
        return REFUSED

    return check


def _check_string(value: Json, at: str, problems: Problems) -> Any:
    if type(value) is not str:
        problems.add(at, "must be a string", "type")
        return REFUSED
    if "\0" in value:
        problems.add(at, "must not contain the character NUL", "nul")
        return REFUSED
    return value


def _check_bool(value: Json, at: str, problems: Problems) -> Any:
    if type(value) is bool:
        return value
    problems.add(at, "must be true or false", "type")
    return REFUSED


def _check_bytes(value: Json, at: str, problems: Problems) -> Any:
    try:
        return base64.b64decode(value, validate=True) if type(value) is str else _check_string(value, at, problems)
    except ValueError:
        problems.add(at, "must be base64", "format")
        return REFUSED


def _fill_timestamp(stamp: Any, value: Json, at: str, problems: Problems) -> bool:
    return _fill_from_text(stamp, Timestamp, value, at, problems, "must be an RFC 3339 time: 2026-01-31T12:00:00Z")


def _fill_duration(duration: Any, value: Json, at: str, problems: Problems) -> bool:
    return _fill_from_text(duration, Duration, value, at, problems, "must be a duration in seconds: 1.5s")


def _fill_from_text(target: Any, kind: Any, value: Json, at: str, problems: Problems, rule: str) -> bool:
    try:
        parsed = kind()
        parsed.FromJsonString(value)
    except (ValueError, AttributeError, TypeError, OverflowError):
        problems.add(at, rule, "format")
        return False
    target.seconds, target.nanos = parsed.seconds, parsed.nanos
    return True


def _fill_mask(mask: Any, value: Json, at: str, problems: Problems) -> bool:
    if type(value) is not str:
        problems.add(at, "must be field names separated by commas", "type")
        return False
    mask.paths.extend(path for path in value.split(",") if path)
    return True


def _fill_free(fill: Fill) -> Fill:
    """Refuse free-form JSON that is too deep before filling a Struct, Value or ListValue with it."""

    def check(target: Any, value: Json, at: str, problems: Problems) -> bool:
        if is_deeper(value, MAX_FREE_DEPTH):
            problems.add(at, f"is nested more than {MAX_FREE_DEPTH} deep", "depth")
            return False
        return fill(target, value, at, problems)

    return check


def is_deeper(value: Json, depth: int) -> bool:
    """Whether a value has more than `depth` arrays and objects within each other, itself included."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        if not level:
            return False
        children = [item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer)]
        level = [item for item in children if isinstance(item, dict | list)]
    return bool(level)


def _fill_struct(struct: Any, value: Json, at: str, problems: Problems) -> bool:
    if type(value) is not dict:
        problems.add(at, "must be an object", "type")
        return False
    return all(
        _check_string(key, at, problems) is not REFUSED
        and _fill_value(struct.fields[key], item, join(at, key), problems)
        for key, item in value.items()
    )


def _fill_list(items: Any, value: Json, at: str, problems: Problems) -> bool:
    if type(value) is not list:
        problems.add(at, "must be an array", "type")
        return False
    return all(_fill_value(items.values.add(), item, f"{at}[{i}]", problems) for i, item in enumerate(value))


def _fill_value(target: Any, value: Json, at: str, problems: Problems) -> bool:
    if type(value) is dict:
        target.struct_value.SetInParent()
        return _fill_struct(target.struct_value, value, at, problems)
    if type(value) is list:
        target.list_value.SetInParent()
        return _fill_list(target.list_value, value, at, problems)
    if value is None:
        target.null_value = 0
    elif type(value) is bool:
        target.bool_value = value
    elif type(value) is str:
        if _check_string(value, at, problems) is REFUSED:
            return False
        target.string_value = value
    elif type(value) is int and abs(value) > MAX_INTEGER:
        problems.add(at, "has more digits than a JSON number keeps; send it as a string", "range")
        return False
    else:
        target.number_value = value
    return True


def _fill_empty(_: Any, value: Json, at: str, problems: Problems) -> bool:
    if value != {}:
        problems.add(at, "must be an empty object", "type")
    return bool(value == {})


FILLERS: Final[Mapping[str, Fill]] = {
    "google.protobuf.Timestamp": _fill_timestamp,
    "google.protobuf.Duration": _fill_duration,
    "google.protobuf.FieldMask": _fill_mask,
    "google.protobuf.Struct": _fill_free(_fill_struct),
    "google.protobuf.Value": _fill_free(_fill_value),
    "google.protobuf.ListValue": _fill_free(_fill_list),
    "google.protobuf.Empty": _fill_empty,
}


_INTEGER = re.compile(r"-?\d{1,20}")


def text_reader(field: FieldDescriptor) -> Callable[[str], Json]:
    """Return how the text of a path, query or form becomes JSON; what it can't be stays text and is refused as that."""
    if field.cpp_type in INTEGER_RANGES:
        return lambda text: int(text) if _INTEGER.fullmatch(text) else text
    if field.cpp_type == F.CPPTYPE_BOOL:
        return lambda text: {"true": True, "false": False}.get(text, text)
    if field.cpp_type in (F.CPPTYPE_DOUBLE, F.CPPTYPE_FLOAT) or _is_json_text(field):
        return _json_or_text
    return lambda text: text


def _is_json_text(field: FieldDescriptor) -> bool:
    texts = ("google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask")
    return field.message_type is not None and field.message_type.full_name not in texts


def _json_or_text(text: str) -> Json:
    try:
        # The strict reader refuses what is no JSON, the lenient one keeps integers of any size as such.
        orjson.loads(text)
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
