"""The rules of one field, as tests of its value. See `chassis.rpc.validation` for what is supported."""

import ipaddress
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from google.api import field_behavior_pb2  # type: ignore[import-untyped]  # Google ships no types for it
from google.protobuf.descriptor import FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2

# Any, here and for the rules below: protobuf picks the type of a field, and that of its rules, at run time.
Value = Any

_EMAIL = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)  # what HTML calls a valid e-mail address, which is also protovalidate's definition
_HOSTNAME = re.compile(
    r"(?=.{1,253}\.?$)(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)*[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.?"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class RuleNotSupported(RuntimeError):
    """A contract uses a rule that this fleet does not enforce: a fault in the contract."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What a value breaks."""

    description: str
    rule: str


Test = Callable[[Value], Problem | None]


@dataclass(slots=True)
class FieldRules:
    """What a field has to keep."""

    is_required: bool = False
    is_ignored: bool = False
    skips_zero: bool = False
    tests: list[Test] = field(default_factory=list)
    """Of the field's value as a whole."""
    each: list[Test] = field(default_factory=list)
    """Of each item of a repeated field, of each value of a map."""
    keys: list[Test] = field(default_factory=list)


def rules_of(descriptor: FieldDescriptor) -> FieldRules:
    """Return the rules of a field. Raises RuleNotSupported."""
    options = descriptor.GetOptions()
    behaviors = options.Extensions[field_behavior_pb2.field_behavior]
    declared = options.Extensions[validate_pb2.field]
    if field_behavior_pb2.OUTPUT_ONLY in behaviors or declared.ignore == validate_pb2.IGNORE_ALWAYS:
        return FieldRules(is_ignored=True)
    rules = FieldRules(
        is_required=declared.required or (field_behavior_pb2.REQUIRED in behaviors and _shows_absence(descriptor)),
        skips_zero=declared.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE,
    )
    _add_type_rules(rules, declared, descriptor)
    return rules


def is_oneof_required(oneof: OneofDescriptor) -> bool:
    """Whether one of a oneof's fields has to be set."""
    return bool(oneof.GetOptions().Extensions[validate_pb2.oneof].required)


def is_map(descriptor: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    return descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry


def _shows_absence(descriptor: FieldDescriptor) -> bool:
    """Whether absence can be told from a valid value: 0 and false are valid, an empty text or UNSPECIFIED is not."""
    if descriptor.has_presence or descriptor.is_repeated:
        return True
    return descriptor.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_ENUM)


def _add_type_rules(rules: FieldRules, declared: validate_pb2.FieldRules, descriptor: FieldDescriptor) -> None:
    _only(declared, ("required", "ignore", declared.WhichOneof("type")), descriptor)
    match declared.WhichOneof("type"):
        case None:
            if descriptor.type == FieldDescriptor.TYPE_DOUBLE and not descriptor.is_repeated:
                rules.tests.append(_finite)
        case "repeated":
            rules.tests += _repeated(declared.repeated, descriptor)
            rules.each += _scalar_tests(declared.repeated.items, descriptor)
        case "map":
            rules.tests += _map(declared.map, descriptor)
            rules.keys += _scalar_tests(declared.map.keys, _entry(descriptor, "key"))
            rules.each += _scalar_tests(declared.map.values, _entry(descriptor, "value"))
        case _:
            rules.tests += _scalar_tests(declared, descriptor)


def _entry(descriptor: FieldDescriptor, name: str) -> FieldDescriptor:
    entry: Any = descriptor.message_type  # a map is a repeated message of key and value
    return cast("FieldDescriptor", entry.fields_by_name[name])


def _scalar_tests(declared: validate_pb2.FieldRules, descriptor: Any) -> list[Test]:  # Any: as Value
    kind = declared.WhichOneof("type")
    if kind is None:
        return []
    given = getattr(declared, kind)
    if kind == "string":
        return _string(given, descriptor)
    if kind == "bytes":
        return _bytes(given, descriptor)
    if kind == "enum":
        return _enum(given, descriptor)
    if kind == "duration":
        return _duration(given, descriptor)
    if kind == "bool":
        _only(given, ("const",), descriptor)
        return [_equals(given.const, "bool.const")] if given.HasField("const") else []
    if kind in _NUMBERS:
        return _number(given, kind, descriptor)
    raise RuleNotSupported(f"{descriptor.full_name}: {kind}")


_NUMBERS = frozenset(
    f"{sign}{kind}{size}" for sign in ("", "u", "s") for kind in ("int", "fixed") for size in (32, 64)
) | {"double", "float"}


def _string(given: Any, descriptor: FieldDescriptor) -> list[Test]:
    well_known = given.WhichOneof("well_known")
    _only(given, (*_STRING, "const", "in", "not_in", *_WELL_KNOWN), descriptor)
    tests = [_STRING[name](getattr(given, name)) for name in _STRING if given.HasField(name)]
    if well_known and getattr(given, well_known):
        tests.append(_WELL_KNOWN[well_known])
    return tests + _choices(given, "string")


def _characters(compare: Callable[[int, int], bool], words: str, rule: str) -> Callable[[int], Test]:
    def make(limit: int) -> Test:
        problem = Problem(words.format(limit), rule)
        return lambda value: None if compare(len(value), limit) else problem

    return make


def _encoded(compare: Callable[[int, int], bool], words: str, rule: str) -> Callable[[int], Test]:
    def make(limit: int) -> Test:
        problem = Problem(words.format(limit), rule)
        return lambda value: None if compare(len(value.encode()), limit) else problem

    return make


def _pattern(text: str) -> Test:
    pattern, problem = re.compile(_as_python(text)), Problem(f"must match {text}", "string.pattern")
    return lambda value: None if pattern.search(value) else problem


def _as_python(pattern: str) -> str:
    """Return a pattern of RE2 for Python, whose `$` also matches before a line break at the end."""
    parts = re.split(r"(\\.|\[\^?\]?(?:\\.|[^\]])*\])", pattern, flags=re.DOTALL)
    # Every other part is an escape or a class of characters, in which `$` is a dollar sign.
    return "".join(part if index % 2 else part.replace("$", r"\Z") for index, part in enumerate(parts))


def _equal(a: int, b: int) -> bool:
    return a == b


def _at_least(a: int, b: int) -> bool:
    return a >= b


def _at_most(a: int, b: int) -> bool:
    return a <= b


_STRING: dict[str, Callable[[Any], Test]] = {
    "len": _characters(_equal, "must have exactly {} characters", "string.len"),
    "min_len": _characters(_at_least, "must have at least {} characters", "string.min_len"),
    "max_len": _characters(_at_most, "must have at most {} characters", "string.max_len"),
    "min_bytes": _encoded(_at_least, "must have at least {} bytes", "string.min_bytes"),
    "max_bytes": _encoded(_at_most, "must have at most {} bytes", "string.max_bytes"),
    "pattern": _pattern,
    "prefix": lambda text: _test(lambda value: value.startswith(text), f"must start with {text}", "string.prefix"),
    "suffix": lambda text: _test(lambda value: value.endswith(text), f"must end with {text}", "string.suffix"),
    "contains": lambda text: _test(lambda value: text in value, f"must contain {text}", "string.contains"),
}


def _test(passes: Callable[[Value], object], words: str, rule: str) -> Test:
    problem = Problem(words, rule)
    return lambda value: None if passes(value) else problem


def _is_uri(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and not re.search(r"[\s<>\"{}|\\^`]", value)


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


_WELL_KNOWN: dict[str, Test] = {
    "email": _test(
        lambda value: _EMAIL.fullmatch(value) and len(value) <= 254, "must be an e-mail address", "string.email"
    ),
    "uuid": _test(_UUID.fullmatch, "must be a UUID", "string.uuid"),
    "uri": _test(_is_uri, "must be an absolute URI", "string.uri"),
    "hostname": _test(_HOSTNAME.fullmatch, "must be a host name", "string.hostname"),
    "ip": _test(_is_ip, "must be an IP address", "string.ip"),
}


def _bytes(given: Any, descriptor: FieldDescriptor) -> list[Test]:
    makers = {
        "len": _characters(_equal, "must have exactly {} bytes", "bytes.len"),
        "min_len": _characters(_at_least, "must have at least {} bytes", "bytes.min_len"),
        "max_len": _characters(_at_most, "must have at most {} bytes", "bytes.max_len"),
    }
    _only(given, makers, descriptor)
    return [make(getattr(given, name)) for name, make in makers.items() if given.HasField(name)]


def _number(given: Any, kind: str, descriptor: FieldDescriptor) -> list[Test]:
    _only(given, ("const", "in", "not_in", "gt", "gte", "lt", "lte", "finite"), descriptor)
    tests: list[Test] = []
    # Infinity and NaN pass through no rule of ours, whether or not the contract says `finite`: JSON has neither.
    if kind in ("double", "float"):
        tests.append(_finite)
    low, high = given.WhichOneof("greater_than"), given.WhichOneof("less_than")
    tests += [_bound(name, getattr(given, name), kind) for name in (low, high) if name is not None]
    return tests + _choices(given, kind)


_BOUNDS: dict[str, tuple[str, Callable[[Value, Value], bool]]] = {
    "gt": ("greater than", lambda value, limit: value > limit),
    "gte": ("at least", lambda value, limit: value >= limit),
    "lt": ("less than", lambda value, limit: value < limit),
    "lte": ("at most", lambda value, limit: value <= limit),
}


def _bound(name: str, limit: Value, kind: str) -> Test:
    words, holds = _BOUNDS[name]
    return _test(lambda value: holds(value, limit), f"must be {words} {limit}", f"{kind}.{name}")


_finite = _test(math.isfinite, "must be a finite number", "double.finite")


def _enum(given: Any, descriptor: Any) -> list[Test]:
    _only(given, ("const", "in", "not_in", "defined_only"), descriptor)
    tests = _choices(given, "enum")
    if given.defined_only:
        known = frozenset(descriptor.enum_type.values_by_number)
        tests.append(_test(known.__contains__, "must be one of the defined values", "enum.defined_only"))
    return tests


def _duration(given: validate_pb2.DurationRules, descriptor: FieldDescriptor) -> list[Test]:
    _only(given, ("gt", "gte", "lt", "lte"), descriptor)
    tests = []
    for name in (given.WhichOneof("greater_than"), given.WhichOneof("less_than")):
        if name is not None:
            limit = _nanoseconds(getattr(given, name))
            words, holds = _BOUNDS[name]
            tests.append(_duration_bound(limit, words, holds, f"duration.{name}"))
    return tests


def _duration_bound(limit: int, words: str, holds: Callable[[Value, Value], bool], rule: str) -> Test:
    return _test(lambda value: holds(_nanoseconds(value), limit), f"must be {words} {limit / 1e9:g} s", rule)


def _nanoseconds(duration: Value) -> int:
    return int(duration.seconds) * 1_000_000_000 + int(duration.nanos)


def _repeated(given: validate_pb2.RepeatedRules, descriptor: FieldDescriptor) -> list[Test]:
    _only(given, ("min_items", "max_items", "unique", "items"), descriptor)
    tests = []
    if given.HasField("min_items"):
        tests.append(_characters(_at_least, "must have at least {} items", "repeated.min_items")(given.min_items))
    if given.HasField("max_items"):
        tests.append(_characters(_at_most, "must have at most {} items", "repeated.max_items")(given.max_items))
    if given.unique:
        tests.append(_test(lambda items: len(set(items)) == len(items), "must not repeat an item", "repeated.unique"))
    return tests


def _map(given: validate_pb2.MapRules, descriptor: FieldDescriptor) -> list[Test]:
    _only(given, ("min_pairs", "max_pairs", "keys", "values"), descriptor)
    tests = []
    if given.HasField("min_pairs"):
        tests.append(_characters(_at_least, "must have at least {} entries", "map.min_pairs")(given.min_pairs))
    if given.HasField("max_pairs"):
        tests.append(_characters(_at_most, "must have at most {} entries", "map.max_pairs")(given.max_pairs))
    return tests


def _choices(given: Any, kind: str) -> list[Test]:
    tests = []
    if given.HasField("const"):
        tests.append(_equals(given.const, f"{kind}.const"))
    if allowed := frozenset(getattr(given, "in")):
        tests.append(_test(allowed.__contains__, f"must be one of {_listed(allowed)}", f"{kind}.in"))
    if refused := frozenset(given.not_in):
        tests.append(
            _test(lambda value: value not in refused, f"must not be one of {_listed(refused)}", f"{kind}.not_in")
        )
    return tests


def _equals(wanted: Value, rule: str) -> Test:
    return _test(lambda value: value == wanted, f"must be {wanted}", rule)


def _listed(values: Iterable[Value]) -> str:
    return ", ".join(sorted(str(value) for value in values))


def _only(given: Message, supported: Iterable[str | None], descriptor: FieldDescriptor) -> None:
    """Raise RuleNotSupported when a rule is set that isn't among those supported."""
    supported = frozenset(supported)
    for rule, _ in given.ListFields():
        if rule.name not in supported and rule.name != "example":
            raise RuleNotSupported(f"{descriptor.full_name}: {given.DESCRIPTOR.name}.{rule.name}")
