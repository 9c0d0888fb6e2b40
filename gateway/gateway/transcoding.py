"""JSON ↔ messages: one converter per message type, built once.

Written JSON has a stable shape: every field is there, `null` where a message, an optional or an `*_UNSPECIFIED` enum is
unset; of a oneof only the member that is set. Read JSON is strict: what the contract doesn't have is refused.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from google.api import field_behavior_pb2  # type: ignore[import-untyped]  # Google ships no types for it
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.values import (
    FILLERS,
    REFUSED,
    WRITERS,
    Check,
    Json,
    Problems,
    UnsupportedType,
    Write,
    join,
    scalar_checker,
    scalar_writer,
    text_reader,
)

SetField = Callable[[Message, Json, str, Problems], None]


class Codec:
    """The converters of the message types of one descriptor pool, made at first use of a type."""

    def __init__(self) -> None:
        self._writers: dict[str, Write] = {}
        self._readers: dict[str, MessageReader] = {}

    def writer(self, kind: Descriptor) -> Write:
        """Return the function from a message of this type to JSON. Raises UnsupportedType."""
        if kind.full_name in WRITERS:
            return WRITERS[kind.full_name]
        _refuse_unsupported(kind)
        if kind.full_name not in self._writers:
            writer = self._writers[kind.full_name] = MessageWriter(kind)
            writer.bind(self)
        return self._writers[kind.full_name]

    def reader(self, kind: Descriptor) -> "MessageReader":
        """Return the reader of JSON objects into messages of this type. Raises UnsupportedType."""
        if kind.full_name not in self._readers:
            reader = self._readers[kind.full_name] = MessageReader(kind)
            reader.bind(self)
        return self._readers[kind.full_name]


class MessageWriter:
    """Writes messages of one type as JSON objects, fields in the order of the contract."""

    def __init__(self, kind: Descriptor) -> None:
        self._kind = kind
        self._names = tuple(field.name for field in kind.fields)
        self._get = attrgetter(*self._names) if len(self._names) > 1 else None
        self._converted: list[tuple[str, Write]] = []
        self._presence: list[tuple[str, Write | None]] = []
        self._unions: list[tuple[str, tuple[str, ...]]] = []

    def bind(self, codec: Codec) -> None:
        """Look up the converters of the fields. Apart from the constructor, since types may contain themselves."""
        for union in self._kind.oneofs:
            if len(union.fields) > 1 or not _is_optional(union.fields[0]):
                self._unions.append((union.name, tuple(field.name for field in union.fields)))
        for field in self._kind.fields:
            convert = _field_writer(codec, field)
            if field.has_presence and not field.is_repeated:
                self._presence.append((field.name, convert))
            elif convert is not None:
                self._converted.append((field.name, convert))

    def __call__(self, message: Message) -> dict[str, Json]:
        values = self._get(message) if self._get else tuple(getattr(message, name) for name in self._names)
        written = dict(zip(self._names, values, strict=True))
        for name, convert in self._converted:
            written[name] = convert(written[name])
        for name, maybe in self._presence:
            if not message.HasField(name):
                written[name] = None
            elif maybe is not None:
                written[name] = maybe(written[name])
        for union, members in self._unions:
            chosen = message.WhichOneof(union)
            for name in members:
                if name != chosen:
                    del written[name]
        return written


class MessageReader:
    """Reads JSON objects into messages of one type."""

    def __init__(self, kind: Descriptor) -> None:
        self.kind = kind
        self._new = GetMessageClass(kind)
        self._fields: dict[str, SetField] = {}
        self._texts: dict[str, Callable[[str], Json]] = {}
        self._frozen = {field.name for field in kind.fields if behaves(field, "IMMUTABLE")}
        self._given = {f.name: not (behaves(f, "OUTPUT_ONLY") or behaves(f, "IDENTIFIER")) for f in kind.fields}
        self._nullable = {f.name for f in kind.fields if f.message_type and f.message_type.name == "Value"}

    def bind(self, codec: Codec) -> None:
        """Look up the converters of the fields."""
        for field in self.kind.fields:
            self._fields[field.name] = _field_reader(codec, field)
            self._texts[field.name] = text_reader(field)

    def __call__(self, value: Json, at: str, problems: Problems) -> Any:
        if type(value) is not dict:
            problems.add(at, "must be an object", "type")
            return REFUSED
        message = self._new()
        for name in value:
            self.set(message, name, value[name], join(at, name), problems)
        return message

    def set(self, message: Message, name: str, value: Json, at: str, problems: Problems) -> None:
        """Set one field from JSON; null leaves it unset."""
        if name not in self._fields:
            problems.add(at, "is not a field of this request", "unknown_field")
        elif not self._given[name]:
            problems.add(at, "is set by the service and cannot be given", "output_only")
        elif value is not None or name in self._nullable:
            self._fields[name](message, value, at, problems)

    def set_text(self, message: Message, name: str, texts: list[str], problems: Problems, *, at: str = "") -> None:
        """Set one field from the texts of a path, query or form, whatever its field behavior."""
        if name not in self._fields:
            problems.add(at or name, "is not a field of this request", "unknown_field")
            return
        field = self.kind.fields_by_name[name]
        values = [self._texts[name](text) for text in texts]
        if field.is_repeated and not (field.message_type and field.message_type.GetOptions().map_entry):
            self._fields[name](message, values, at or name, problems)
        elif len(values) > 1:
            problems.add(at or name, "is given more than once", "repeated")
        else:
            self._fields[name](message, values[0], at or name, problems)

    def patch(self, message: Message, value: Json, problems: Problems) -> list[str]:
        """Set the fields that a PATCH names, null clearing, and return their names: the update mask."""
        if type(value) is not dict:
            problems.add("", "must be an object", "type")
            return []
        if not value:
            problems.add("", "must name at least one field to change", "required")
        for name, given in value.items():
            if name in self._frozen:
                problems.add(name, "cannot be changed", "immutable")
            else:
                self.set(message, name, given, name, problems)
        return [name for name in value if name in self._fields]


def behaves(field: FieldDescriptor, behavior: str) -> bool:
    """Whether the field is declared REQUIRED, OUTPUT_ONLY, IMMUTABLE …"""
    number = field_behavior_pb2.FieldBehavior.Value(behavior)
    return number in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def _is_optional(field: FieldDescriptor) -> bool:
    """Whether the field is alone in a oneof that only exists because it says `optional`."""
    return field.containing_oneof is not None and field.containing_oneof.name == f"_{field.name}"


# Writing


def _field_writer(codec: Codec, field: FieldDescriptor) -> Write | None:
    """Return how a value of the field is written, None for as it is."""
    entry = field.message_type
    if entry and entry.GetOptions().map_entry:
        convert = _field_writer(codec, entry.fields_by_name["value"]) or (lambda value: value)
        return lambda entries: {_map_key(key): convert(item) for key, item in entries.items()}
    single: Write | None = codec.writer(field.message_type) if field.message_type else scalar_writer(field)
    if not field.is_repeated:
        return single
    return list if single is None else _each(single)


def _each(write: Write) -> Write:
    return lambda values: [write(value) for value in values]


def _map_key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


# Reading


def _field_reader(codec: Codec, field: FieldDescriptor) -> SetField:
    name = field.name
    entry = field.message_type
    if entry and entry.GetOptions().map_entry:
        return _map_reader(codec, field, entry)
    check = _checker(codec, field)
    if field.is_repeated:
        return _list_reader(field, check)
    union = field.containing_oneof
    is_message = field.message_type is not None

    def read(message: Message, value: Json, at: str, problems: Problems) -> None:
        checked = check(value, at, problems)
        if union is not None and not _is_optional(field) and message.WhichOneof(union.name) is not None:
            problems.add(at, f"excludes {message.WhichOneof(union.name)}, which is given too", "oneof")
        elif checked is not REFUSED and is_message:
            getattr(message, name).CopyFrom(checked)
            getattr(message, name).SetInParent()
        elif checked is not REFUSED:
            setattr(message, name, checked)

    return read


def _list_reader(field: FieldDescriptor, check: Check) -> SetField:
    def read(message: Message, value: Json, at: str, problems: Problems) -> None:
        if type(value) is not list:
            problems.add(at, "must be an array", "type")
            return
        checked = [check(item, f"{at}[{index}]", problems) for index, item in enumerate(value)]
        getattr(message, field.name).extend(item for item in checked if item is not REFUSED)

    return read


def _map_reader(codec: Codec, field: FieldDescriptor, entry: Descriptor) -> SetField:
    key_field, value_field = (entry.fields_by_name[part] for part in ("key", "value"))
    check_key, check = _checker(codec, key_field), _checker(codec, value_field)
    key_text = text_reader(key_field)

    def read(message: Message, value: Json, at: str, problems: Problems) -> None:
        if type(value) is not dict:
            problems.add(at, "must be an object", "type")
            return
        target = getattr(message, field.name)
        for text, item in value.items():
            key = check_key(key_text(text), join(at, text), problems)
            checked = check(item, join(at, text), problems)
            if key is REFUSED or checked is REFUSED:
                continue
            if value_field.message_type:
                target[key].CopyFrom(checked)
            else:
                target[key] = checked

    return read


def _checker(codec: Codec, field: FieldDescriptor) -> Check:
    """Return the function that turns JSON into a value of the field, or notes why not and returns REFUSED."""
    if field.message_type is None:
        return scalar_checker(field)
    kind = field.message_type
    fill = FILLERS.get(kind.full_name)
    if fill is None:
        _refuse_unsupported(kind)
        return codec.reader(kind)
    new = GetMessageClass(kind)

    def check(value: Json, at: str, problems: Problems) -> Any:
        message = new()
        return message if fill(message, value, at, problems) else REFUSED

    return check


def _refuse_unsupported(kind: Descriptor) -> None:
    if kind.file.package == "google.protobuf":
        raise UnsupportedType(kind.full_name)
