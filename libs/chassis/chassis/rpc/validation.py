"""Checks requests against the rules of their contract, with a validator compiled once for each message type.

Enforced are these options of `buf.validate`, with protovalidate's meaning (a field without presence is checked even
when it is zero; one with presence only when it is set):

- field: `required`, `ignore`
- string: `const in not_in len min_len max_len min_bytes max_bytes pattern prefix suffix contains`, and the formats
  `email uuid uri hostname ip`
- bytes: `len min_len max_len`
- numbers: `const in not_in gt gte lt lte finite`; bool: `const`; enum: `const in not_in defined_only`
- repeated: `min_items max_items unique items`; map: `min_pairs max_pairs keys values`
- duration: `required gt gte lt lte`; oneof: `required`

and `google.api.field_behavior`: REQUIRED must be there and not be empty (numbers and booleans without presence cannot
tell, so they pass), OUTPUT_ONLY is not looked at. The resource in an Update request is checked only where the update
mask points, without a mask only where it is populated. Beyond the contract, no text may hold U+0000, which Postgres
cannot store.

Any other rule raises RuleNotSupported when the validator is compiled, which the server does when it starts.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.errors import ValidationFailed, Violation
from chassis.rpc import field_rules
from chassis.rpc.field_rules import FieldRules, RuleNotSupported, Test, Value

__all__ = ["RuleNotSupported", "Validator", "validate", "validator_for"]

MAX_VIOLATIONS = 20

Report = Callable[[Violation], None]
FieldCheck = Callable[[Message, str, Report], None]


class _Enough(Exception):
    """There are as many violations as are reported."""


class Validator:
    """The rules of one message type."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self._checks: dict[str, FieldCheck] = {}
        self._oneofs = [oneof.name for oneof in descriptor.oneofs if field_rules.is_oneof_required(oneof)]
        self._is_compiled = False

    def compile(self) -> None:
        """Build the checks. Separate from the constructor since messages may contain themselves."""
        if self._is_compiled:
            return
        self._is_compiled = True
        mask = self._resource_of_update()
        for field in self.descriptor.fields:
            if check := _field_check(field):
                self._checks[field.name] = _checked_by_mask(field, check) if field is mask else check

    def violations(self, message: Message) -> list[Violation]:
        """Return what is wrong with a message, at most 20 violations, in the order of its fields."""
        found: list[Violation] = []

        def report(violation: Violation) -> None:
            found.append(violation)
            if len(found) >= MAX_VIOLATIONS:
                raise _Enough

        with suppress(_Enough):
            self.check(message, "", report)
        return found

    def check(self, message: Message, path: str, report: Report, only: set[str] | None = None) -> None:
        """Report violations of a message that stands at `path`; of the fields `only` when that is given."""
        for name, check in self._checks.items():
            if only is None or name in only:
                check(message, path, report)
        for name in self._oneofs:
            if message.WhichOneof(name) is None:
                report(Violation(path + name, "exactly one of its fields is required", "required"))

    def _resource_of_update(self) -> FieldDescriptor | None:
        """The resource in an Update request: its one field that is a message of our own, beside `update_mask`."""
        mask = self.descriptor.fields_by_name.get("update_mask")
        if mask is None or mask.message_type is None or mask.message_type.full_name != "google.protobuf.FieldMask":
            return None
        own = [f for f in self.descriptor.fields if f.message_type and not _is_well_known(f.message_type)]
        return own[0] if len(own) == 1 and not own[0].is_repeated else None


@cache
def validator_for(descriptor: Descriptor) -> Validator:
    """Return the validator of a message type. Raises RuleNotSupported."""
    validator = _validators(descriptor)
    validator.compile()
    return validator


@cache
def _validators(descriptor: Descriptor) -> Validator:
    return Validator(descriptor)


def validate(message: Message) -> None:
    """Raise ValidationFailed when a message breaks rules of its contract."""
    violations = validator_for(message.DESCRIPTOR).violations(message)
    if violations:
        raise ValidationFailed(violations)


def _field_check(field: FieldDescriptor) -> FieldCheck | None:
    """Return the check of a field, None when there is nothing to check."""
    rules = field_rules.rules_of(field)
    value_check = None if rules.is_ignored else _value_check(field)
    if rules.is_required or rules.tests or rules.each or rules.keys or value_check:
        return _FieldCheck(field, rules, value_check)
    return None


class _FieldCheck:
    def __init__(self, field: FieldDescriptor, rules: FieldRules, value_check: "ValueCheck | None") -> None:
        self._name = field.name
        self._has_presence = field.has_presence
        self._is_map = field_rules.is_map(field)
        self._is_repeated = field.is_repeated
        self._rules = rules
        self._value_check = value_check

    def __call__(self, message: Message, path: str, report: Report) -> None:
        value = getattr(message, self._name)
        here = path + self._name
        is_present = message.HasField(self._name) if self._has_presence else bool(value)
        if not is_present and self._rules.is_required:
            report(Violation(here, "is required", "required"))
        elif is_present or not (self._has_presence or self._rules.skips_zero):
            _report_failures(self._rules.tests, value, here, report)
        if is_present:
            for item_path, item, tests in self._items(value, here):
                _report_failures(tests, item, item_path, report)
                if self._value_check:
                    self._value_check(item, item_path, report)

    def _items(self, value: Value, path: str) -> Iterator[tuple[str, Value, list[Test]]]:
        """Yield path, value and tests of each single value: of the field itself, its items, its keys and values."""
        if self._is_map:
            for key in value:
                yield f"{path}[{key}]", key, self._rules.keys
                yield f"{path}[{key}]", value[key], self._rules.each
        elif self._is_repeated:
            for index, item in enumerate(value):
                yield f"{path}[{index}]", item, self._rules.each
        else:
            yield path, value, []


def _report_failures(tests: list[Test], value: Value, path: str, report: Report) -> None:
    for test in tests:
        if problem := test(value):
            report(Violation(path, problem.description, problem.rule))


ValueCheck = Callable[[Value, str, Report], None]


def _value_check(field: FieldDescriptor) -> ValueCheck | None:
    """Return the check of a single value that its type asks for: texts without U+0000, messages by their own rules."""
    kind = field.message_type
    if field_rules.is_map(field):
        return _text_or_message
    if kind is None:
        return _no_nul if field.type == FieldDescriptor.TYPE_STRING else None
    if kind.full_name in _JSON:
        return _text_or_message
    if _is_well_known(kind):
        return None
    nested = _validators(kind)

    def check(value: Value, path: str, report: Report) -> None:
        nested.compile()
        nested.check(value, path + ".", report)

    # Compiled now when that ends, so that a rule that is not supported stops the start and not a request.
    validator_for(kind)
    return check


_JSON = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})


def _is_well_known(kind: Any) -> bool:  # Any: protobuf has two classes of descriptors
    return str(kind.full_name).startswith("google.")


def _no_nul(value: Value, path: str, report: Report) -> None:
    if isinstance(value, str) and "\0" in value:
        report(Violation(path, "must not contain the character U+0000", "string.no_nul"))


def _text_or_message(value: Value, path: str, report: Report) -> None:
    if not isinstance(value, Message):
        _no_nul(value, path, report)
    elif value.DESCRIPTOR.full_name in _JSON:
        if any("\0" in text for text in _texts(value)):
            report(Violation(path, "must not contain the character U+0000", "string.no_nul"))
    elif not _is_well_known(value.DESCRIPTOR):
        validator_for(value.DESCRIPTOR).check(value, path + ".", report)


def _texts(value: Message) -> Iterator[str]:
    """Yield all texts in a Struct, Value or ListValue, without recursion: depth is the sender's choice."""
    waiting: list[Message] = [value]
    while waiting:
        for field, content in waiting.pop().ListFields():
            if isinstance(content, str):
                yield content
            elif isinstance(content, Message):
                waiting.append(content)
            elif field_rules.is_map(field):
                yield from content
                waiting.extend(content.values())
            elif field.is_repeated:
                waiting.extend(content)


def _checked_by_mask(field: FieldDescriptor, check: FieldCheck) -> FieldCheck:
    """Check the resource of an Update request only where its mask points."""
    nested = _validators(field.message_type)

    def check_masked(message: Message, path: str, report: Report) -> None:
        if not message.HasField(field.name):
            check(message, path, report)
            return
        resource = getattr(message, field.name)
        mask = message.update_mask  # type: ignore[attr-defined]  # found by _resource_of_update
        only = {name.partition(".")[0] for name in mask.paths} or {found.name for found, _ in resource.ListFields()}
        nested.check(resource, f"{path}{field.name}.", report, only)

    return check_masked
