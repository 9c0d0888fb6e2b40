"""Rules of contracts, on messages made for the test."""

import math
from itertools import count
from typing import Any

import pytest
from google.api import field_behavior_pb2  # type: ignore[import-untyped]  # Google ships no types for it
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, field_mask_pb2, message_factory, struct_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message import Message
from google.protobuf.text_format import Parse
from hypothesis import given
from hypothesis import strategies as st

from buf.validate import validate_pb2
from chassis.errors import ValidationFailed
from chassis.rpc.validation import RuleNotSupported, validate, validator_for

STRING, INT32, INT64 = (
    FieldDescriptorProto.TYPE_STRING,
    FieldDescriptorProto.TYPE_INT32,
    FieldDescriptorProto.TYPE_INT64,
)
DOUBLE, BOOL, BYTES = FieldDescriptorProto.TYPE_DOUBLE, FieldDescriptorProto.TYPE_BOOL, FieldDescriptorProto.TYPE_BYTES
MESSAGE, ENUM = FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_ENUM

_numbers = count()
REQUIRED = "required"
OUTPUT_ONLY = "output_only"


class Field:
    """A field of a message to be made: its rules in text format, as they stand after `(buf.validate.field)`."""

    def __init__(
        self,
        name: str,
        type: Any = STRING,
        rules: str = "",
        *,
        of: str = "",
        repeated: bool = False,
        optional: bool = False,
        behavior: str = "",
        oneof: bool = False,
    ) -> None:
        self.name, self.type, self.rules, self.of = name, type, rules, of
        self.repeated, self.optional, self.behavior, self.oneof = repeated, optional, behavior, oneof


def message(*fields: Field, oneof_required: bool = False) -> Any:
    """Make a message type with these fields; an enum Color and a message Inner are beside it."""
    package = f"test{next(_numbers)}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend(
        ["google/protobuf/struct.proto", "google/protobuf/field_mask.proto", "google/protobuf/duration.proto"]
    )
    color = file.enum_type.add(name="Color")
    for number, name in enumerate(("NONE", "RED", "BLUE")):
        color.value.add(name=name, number=number)
    inner = file.message_type.add(name="Inner")
    _add(inner, Field("name", STRING, "string {min_len: 1 max_len: 5}"), package)
    _add(inner, Field("title", STRING, behavior=REQUIRED), package)
    _add(inner, Field("child", MESSAGE, of="Inner"), package)
    outer = file.message_type.add(name="Outer")
    if any(field.oneof for field in fields):
        outer.oneof_decl.add(name="choice")
        outer.oneof_decl[0].options.Extensions[validate_pb2.oneof].required = oneof_required
    for field in fields:
        _add(outer, field, package)
    pool = descriptor_pool.DescriptorPool()
    for known in (struct_pb2, field_mask_pb2, duration_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Outer"))


def _add(to: descriptor_pb2.DescriptorProto, field: Field, package: str) -> None:
    added = to.field.add(name=field.name, number=len(to.field) + 1, type=field.type)
    added.label = FieldDescriptorProto.LABEL_REPEATED if field.repeated else FieldDescriptorProto.LABEL_OPTIONAL
    if field.of:
        added.type_name = field.of if field.of.startswith(".") else f".{package}.{field.of}"
    if field.oneof:
        added.oneof_index = 0
    if field.optional:
        added.proto3_optional = True
        added.oneof_index = len(to.oneof_decl)
        to.oneof_decl.add(name=f"_{field.name}")
    if field.rules:
        Parse(field.rules, added.options.Extensions[validate_pb2.field])
    if field.behavior:
        behavior = {REQUIRED: field_behavior_pb2.REQUIRED, OUTPUT_ONLY: field_behavior_pb2.OUTPUT_ONLY}[field.behavior]
        added.options.Extensions[field_behavior_pb2.field_behavior].append(behavior)


def broken(instance: Message) -> list[tuple[str, str]]:
    """Return field and rule of each violation."""
    return [(found.field, found.rule) for found in validator_for(instance.DESCRIPTOR).violations(instance)]


class TestScalars:
    @pytest.mark.parametrize(
        ("type", "rules", "good", "bad", "rule"),
        [
            (STRING, "string {min_len: 2}", ["ab", "äö"], ["a", ""], "string.min_len"),
            (STRING, "string {max_len: 2}", ["", "äö"], ["abc"], "string.max_len"),
            (STRING, "string {len: 2}", ["ab"], ["a", "abc"], "string.len"),
            (STRING, "string {max_bytes: 2}", ["ab"], ["äö"], "string.max_bytes"),
            (STRING, "string {min_bytes: 3}", ["äö"], ["ab"], "string.min_bytes"),
            (STRING, 'string {pattern: "^[a-z]+$"}', ["abc"], ["", "aB", "a\n", "a1"], "string.pattern"),
            (STRING, 'string {pattern: "[0-9]"}', ["a1b"], ["ab"], "string.pattern"),
            (STRING, 'string {prefix: "kb_"}', ["kb_1"], ["", "doc_1"], "string.prefix"),
            (STRING, 'string {suffix: ".md"}', ["a.md"], ["md"], "string.suffix"),
            (STRING, 'string {contains: "@"}', ["a@b"], ["ab"], "string.contains"),
            (STRING, 'string {in: "a" in: "b"}', ["a", "b"], ["c", ""], "string.in"),
            (STRING, 'string {not_in: "a"}', ["b", ""], ["a"], "string.not_in"),
            (STRING, 'string {const: "a"}', ["a"], ["b", ""], "string.const"),
            (
                STRING,
                "string {email: true}",
                ["a@b.c", "a+b@c"],
                ["", "a", "a@b@c", "a b@c.d", "a@-b", "a@b.c\n"],
                "string.email",
            ),
            (STRING, "string {uuid: true}", ["550e8400-e29b-41d4-a716-446655440000"], ["", "550e8400"], "string.uuid"),
            (STRING, "string {uri: true}", ["https://a.b/c?d#e", "urn:x:y"], ["", "/path", "http://a b"], "string.uri"),
            (
                STRING,
                "string {hostname: true}",
                ["a.b-c.d", "localhost"],
                ["", "-a", "a..b", "a_b", "a" * 64],
                "string.hostname",
            ),
            (STRING, "string {ip: true}", ["127.0.0.1", "::1"], ["", "127.1", "a"], "string.ip"),
            (BYTES, "bytes {min_len: 1 max_len: 3}", [b"a", b"abc"], [b""], "bytes.min_len"),
            (INT32, "int32 {gte: 1}", [1, 5], [0, -1], "int32.gte"),
            (INT32, "int32 {lte: 200}", [0, 200], [201], "int32.lte"),
            (INT64, "int64 {gt: 0}", [1], [0], "int64.gt"),
            (INT64, "int64 {lt: 0}", [-1], [0], "int64.lt"),
            (INT32, "int32 {in: 1 in: 2}", [1, 2], [0, 3], "int32.in"),
            (DOUBLE, "double {gte: 0 lte: 2}", [0.0, 2.0], [2.1], "double.lte"),
            (DOUBLE, "", [0.0, 1e300], [math.inf, -math.inf, math.nan], "double.finite"),
            (BOOL, "bool {const: true}", [True], [False], "bool.const"),
        ],
    )
    def test_rules(self, type: Any, rules: str, good: list[Any], bad: list[Any], rule: str) -> None:
        kind = message(Field("value", type, rules))

        assert [broken(kind(value=value)) for value in good] == [[]] * len(good)
        assert [broken(kind(value=value)) for value in bad] == [[("value", rule)]] * len(bad)

    def test_an_enum_has_defined_values(self) -> None:
        kind = message(Field("color", ENUM, "enum {defined_only: true not_in: 0}", of="Color"))

        assert broken(kind(color=2)) == []
        assert broken(kind(color=0)) == [("color", "enum.not_in")]
        assert broken(kind(color=7)) == [("color", "enum.defined_only")]

    def test_a_duration_has_bounds(self) -> None:
        kind = message(Field("wait", MESSAGE, "duration {gt {} lte {seconds: 60}}", of=".google.protobuf.Duration"))

        assert broken(kind(wait={"seconds": 60})) == []
        assert broken(kind()) == []
        assert broken(kind(wait={})) == [("wait", "duration.gt")]
        assert broken(kind(wait={"seconds": 60, "nanos": 1})) == [("wait", "duration.lte")]

    def test_no_text_holds_what_postgres_cannot_store(self) -> None:
        kind = message(
            Field("value"),
            Field("list", repeated=True),
            Field("json", MESSAGE, of=".google.protobuf.Struct"),
        )
        json = {"a": {"b": [1, "x\0"]}}

        assert broken(kind(value="a\0b")) == [("value", "string.no_nul")]
        assert broken(kind(list=["a", "\0"])) == [("list[1]", "string.no_nul")]
        assert broken(kind(json=json)) == [("json", "string.no_nul")]
        assert broken(kind(json={"k\0": 1})) == [("json", "string.no_nul")]
        assert broken(kind(value="é", list=["a"], json={"a": ["b", None, True, {}]})) == []

    def test_a_deep_struct_is_walked_without_recursion(self) -> None:
        kind = message(Field("json", MESSAGE, of=".google.protobuf.Struct"))
        deep: Any = "x\0"
        for _ in range(40):
            deep = [deep]

        assert broken(kind(json={"a": deep})) == [("json", "string.no_nul")]


class TestPresence:
    def test_a_field_without_presence_is_checked_when_it_is_zero(self) -> None:
        assert broken(message(Field("value", STRING, "string {min_len: 1}"))()) == [("value", "string.min_len")]

    def test_a_field_with_presence_is_checked_when_it_is_set(self) -> None:
        kind = message(Field("value", STRING, "string {min_len: 1}", optional=True))

        assert broken(kind()) == []
        assert broken(kind(value="")) == [("value", "string.min_len")]

    def test_zero_may_be_left_out_when_the_contract_says_so(self) -> None:
        kind = message(Field("size", INT32, "ignore: IGNORE_IF_ZERO_VALUE int32 {gte: 5}"))

        assert broken(kind()) == []
        assert broken(kind(size=1)) == [("size", "int32.gte")]

    @pytest.mark.parametrize(
        "field",
        [
            Field("value", behavior=REQUIRED),
            Field("value", rules="required: true"),
            Field("value", behavior=REQUIRED, repeated=True),
            Field("value", ENUM, of="Color", behavior=REQUIRED),
            Field("value", MESSAGE, of="Inner", behavior=REQUIRED),
            Field("value", INT32, optional=True, behavior=REQUIRED),
            Field("value", INT32, "required: true"),
        ],
    )
    def test_what_is_required_is_there(self, field: Field) -> None:
        assert broken(message(field)()) == [("value", "required")]

    def test_a_number_that_is_required_may_be_zero(self) -> None:
        assert broken(message(Field("value", INT32, behavior=REQUIRED))()) == []
        assert broken(message(Field("value", INT32, behavior=REQUIRED, optional=True))(value=0)) == []

    def test_what_only_servers_write_is_not_looked_at(self) -> None:
        assert broken(message(Field("value", STRING, "string {min_len: 9}", behavior=OUTPUT_ONLY))(value="x")) == []

    def test_a_oneof_may_be_required(self) -> None:
        fields = (Field("text", oneof=True), Field("data", BYTES, oneof=True))

        assert broken(message(*fields, oneof_required=True)()) == [("choice", "required")]
        assert broken(message(*fields, oneof_required=True)(data=b"")) == []
        assert broken(message(*fields)()) == []


class TestContainers:
    def test_a_list_has_bounds_and_rules_for_items(self) -> None:
        kind = message(
            Field(
                "ids",
                STRING,
                "repeated {min_items: 1 max_items: 2 unique: true items {string {min_len: 1}}}",
                repeated=True,
            )
        )

        assert broken(kind(ids=["a", "b"])) == []
        assert broken(kind()) == [("ids", "repeated.min_items")]
        assert broken(kind(ids=["a", "b", "c"])) == [("ids", "repeated.max_items")]
        assert broken(kind(ids=["a", "a"])) == [("ids", "repeated.unique")]
        assert broken(kind(ids=["a", ""])) == [("ids[1]", "string.min_len")]

    def test_messages_are_checked_wherever_they_are(self) -> None:
        kind = message(Field("one", MESSAGE, of="Inner"), Field("many", MESSAGE, of="Inner", repeated=True))
        good, bad = {"name": "a", "title": "t"}, {"name": "too long", "title": "t"}

        assert broken(kind()) == []
        assert broken(kind(one=good, many=[good])) == []
        assert broken(kind(one=bad)) == [("one.name", "string.max_len")]
        assert broken(kind(many=[good, bad])) == [("many[1].name", "string.max_len")]
        assert broken(kind(one={**good, "child": {**good, "child": bad}})) == [
            ("one.child.child.name", "string.max_len")
        ]

    @given(st.lists(st.text(max_size=3), max_size=40))
    def test_tells_of_each_broken_item_but_no_more_than_twenty(self, items: list[str]) -> None:
        kind = message(Field("ids", STRING, "repeated {items {string {min_len: 2}}}", repeated=True))
        # U+0000 breaks a rule of its own.
        wrong = [f"ids[{index}]" for index, item in enumerate(items) if len(item) < 2 or "\0" in item]

        found = broken(kind(ids=items))

        assert len(found) <= 20
        assert set(wrong[:10]) <= {field for field, _ in found} <= set(wrong)


class TestUpdate:
    KIND = message(Field("inner", MESSAGE, of="Inner"), Field("update_mask", MESSAGE, of=".google.protobuf.FieldMask"))

    def test_only_what_the_mask_names_is_checked(self) -> None:
        assert broken(self.KIND(inner={"name": "ok"}, update_mask={"paths": ["name"]})) == []
        assert broken(self.KIND(inner={}, update_mask={"paths": ["name"]})) == [("inner.name", "string.min_len")]
        assert broken(self.KIND(inner={}, update_mask={"paths": ["title"]})) == [("inner.title", "required")]

    def test_without_a_mask_only_what_is_there_is_checked(self) -> None:
        assert broken(self.KIND(inner={"title": "t"})) == []
        assert broken(self.KIND(inner={"name": "too long"})) == [("inner.name", "string.max_len")]


class TestValidate:
    def test_raises_with_every_violation(self) -> None:
        kind = message(Field("a", STRING, "string {min_len: 1}"), Field("b", INT32, "int32 {gt: 3}"))

        with pytest.raises(ValidationFailed) as caught:
            validate(kind())

        assert [violation.field for violation in caught.value.violations] == ["a", "b"]

    @pytest.mark.parametrize(
        ("type", "rules"),
        [
            (STRING, 'cel {id: "x" expression: "true"}'),
            (STRING, "string {tuuid: true}"),
            (BYTES, 'bytes {pattern: "x"}'),
        ],
    )
    def test_a_rule_that_would_not_be_enforced_stops_the_start(self, type: Any, rules: str) -> None:
        kind = message(Field("value", type, rules))
        with pytest.raises(RuleNotSupported):
            validator_for(kind.DESCRIPTOR)
