"""JSON schemas of messages: the contracts' comments as texts, their validation rules as constraints."""

import inspect
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from gateway.transcoding import behaves
from gateway.values import INTEGER_RANGES, MAX_INTEGER, enum_names

Schema = dict[str, Any]
F = FieldDescriptor

_WELL_KNOWN: Final[dict[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d{1,12}(\.\d{1,9})?s$", "examples": ["1.5s"]},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Empty": {"type": "object", "maxProperties": 0},
}
_BASE64: Final = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_INTEGER_NAMES: Final = {
    F.CPPTYPE_INT32: "int32",
    F.CPPTYPE_INT64: "int64",
    F.CPPTYPE_UINT32: "uint32",
    F.CPPTYPE_UINT64: "uint64",
}


class Comments:
    """Leading comments of the elements of a set of files, by full name."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self._texts: dict[str, str] = {}
        for file in files.file:
            for location in file.source_code_info.location:
                name = _element_name(file, location.path)
                if name and location.leading_comments:
                    self._texts[name] = inspect.cleandoc(location.leading_comments).strip()

    def __getitem__(self, full_name: str) -> str:
        return self._texts.get(full_name, "")


def _element_name(file: descriptor_pb2.FileDescriptorProto, path: Sequence[int]) -> str:
    """Return the full name of the element at a source location, empty where it is no named element."""
    node: Any = file
    name = file.package
    for number, index in zip(path[::2], path[1::2], strict=False):
        children = getattr(node, node.DESCRIPTOR.fields_by_number[number].name)
        if isinstance(children, Message) or not hasattr(children, "__getitem__"):
            return ""
        node = children[index]
        if not hasattr(node, "name"):
            return ""
        is_value = isinstance(node, descriptor_pb2.EnumValueDescriptorProto)
        # The full name of an enum's value stands beside the enum, not below it.
        name = f"{name.rpartition('.')[0] if is_value else name}.{node.name}"
    return name if len(path) % 2 == 0 else ""


class Schemas:
    """The schemas that a document refers to, made as they are asked for.

    A message has up to three: as a reply it has its own name and every field; as Input what a client may set; as Patch
    the same with nothing required and null to clear.
    """

    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self.components: dict[str, Schema] = {}

    def message(self, kind: Descriptor, shape: str, *, without: frozenset[str] = frozenset()) -> Schema:
        """Return a reference to the schema of a message, as a reply (""), as Input, or as a Patch."""
        if kind.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[kind.full_name])
        name = kind.name if not shape or kind.name.endswith("Request") else kind.name + shape
        if name not in self.components:
            schema = self.components[name] = {"type": "object"}
            schema |= {"description": self._comments[kind.full_name], "additionalProperties": False}
            schema |= self._properties(kind, shape, without)
        return {"$ref": f"#/components/schemas/{name}"}

    def _properties(self, kind: Descriptor, shape: str, without: frozenset[str]) -> Schema:
        given = ("OUTPUT_ONLY", "IDENTIFIER")
        hidden = {"Input": given, "Patch": (*given, "IMMUTABLE"), "": ("INPUT_ONLY",)}[shape]
        fields = [f for f in kind.fields if f.name not in without and not any(behaves(f, word) for word in hidden)]
        found: Schema = {"properties": {f.name: self._nullable(f, shape) for f in fields}}
        if shape == "Patch":
            found["minProperties"] = 1
        elif shape == "Input":
            found["required"] = [f.name for f in fields if behaves(f, "REQUIRED")]
        else:
            found["required"] = [f.name for f in fields if not _is_in_union(f)]
        return {name: value for name, value in found.items() if value}

    def _nullable(self, field: FieldDescriptor, shape: str) -> Schema:
        """Return the schema of a field, with null where it may be: unset in a reply, left out in a request."""
        schema = self.field(field, shape and "Input")
        is_unset = field.enum_type or (field.has_presence and not _is_in_union(field))
        can_be_null = bool(is_unset and not field.is_repeated) if not shape else not behaves(field, "REQUIRED")
        if not can_be_null or ("type" not in schema and "$ref" not in schema):
            return schema
        if "$ref" in schema or "enum" in schema:
            text = schema.pop("description", "")
            return {"anyOf": [schema, {"type": "null"}], "description": text}
        return schema | {"type": [schema["type"], "null"]}

    def field(self, field: FieldDescriptor, shape: str) -> Schema:
        """Return the schema of a field. Rules bind what clients send; a reply may hold what was valid once."""
        rules = field.GetOptions().Extensions[validate_pb2.field] if shape else validate_pb2.FieldRules()
        entry = field.message_type
        if entry and entry.GetOptions().map_entry:
            schema = self._map(entry, shape, rules)
        elif field.is_repeated:
            schema = {"type": "array", "items": self._single(field, shape, rules.repeated.items)}
            schema |= _limits(rules.repeated, {"min_items": "minItems", "max_items": "maxItems"})
            schema |= {"uniqueItems": True} if rules.repeated.unique else {}
        else:
            schema = self._single(field, shape, rules)
        if behaves(field, "INPUT_ONLY"):
            schema["writeOnly"] = True
        text = self._text(field)
        return schema | {"description": text} if text else schema

    def _text(self, field: FieldDescriptor) -> str:
        text = self._comments[field.full_name]
        union = field.containing_oneof
        if union is None or not _is_in_union(field):
            return text
        others = ", ".join(f"`{other.name}`" for other in union.fields if other.name != field.name)
        return f"{text}\n\nExcludes {others}.".strip()

    def _map(self, entry: Descriptor, shape: str, rules: Any) -> Schema:
        schema: Schema = {"type": "object"}
        schema["additionalProperties"] = self._single(entry.fields_by_name["value"], shape, rules.map.values)
        key = entry.fields_by_name["key"]
        if key.cpp_type != F.CPPTYPE_STRING:
            words = "true|false" if key.cpp_type == F.CPPTYPE_BOOL else r"-?\d{1,10}"
            schema["propertyNames"] = {"pattern": f"^({words})$"}
        return schema | _limits(rules.map, {"min_pairs": "minProperties", "max_pairs": "maxProperties"})

    def _single(self, field: FieldDescriptor, shape: str, rules: Any) -> Schema:
        if field.message_type:
            return self.message(field.message_type, shape)
        if field.enum_type:
            return self._enum(field.enum_type)
        if field.cpp_type in INTEGER_RANGES:
            return _integer(field, rules)
        if field.cpp_type in (F.CPPTYPE_DOUBLE, F.CPPTYPE_FLOAT):
            chosen = rules.double if field.cpp_type == F.CPPTYPE_DOUBLE else rules.float
            return {"type": "number"} | _bounds(chosen)
        if field.type == F.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64", "pattern": _BASE64}
        return {"type": "boolean"} if field.cpp_type == F.CPPTYPE_BOOL else _string(rules.string)

    def _enum(self, enum: EnumDescriptor) -> Schema:
        names = enum_names(enum)
        comments = {value.number: self._comments[f"{enum.file.package}.{value.name}"] for value in enum.values}
        lines = [f"- `{name}`: {comments[number]}".replace("\n", " ") for number, name in names.items()]
        text = "\n".join([self._comments[enum.full_name], *lines])
        self.components.setdefault(enum.name, {"type": "string", "enum": list(names.values()), "description": text})
        return {"$ref": f"#/components/schemas/{enum.name}"}


def _is_in_union(field: FieldDescriptor) -> bool:
    union = field.containing_oneof
    return union is not None and union.name != f"_{field.name}"


def _limits(rules: Message, names: dict[str, str]) -> Schema:
    return {there: getattr(rules, here) for here, there in names.items() if rules.HasField(here)}


def _bounds(rules: Message) -> Schema:
    names = {"gte": "minimum", "gt": "exclusiveMinimum", "lte": "maximum", "lt": "exclusiveMaximum"}
    return _limits(rules, names)


def _integer(field: FieldDescriptor, rules: Any) -> Schema:
    low, high = INTEGER_RANGES[field.cpp_type]
    bounds = _bounds(getattr(rules, _INTEGER_NAMES[field.cpp_type]))
    if "minimum" not in bounds and "exclusiveMinimum" not in bounds:
        bounds["minimum"] = low
    if "maximum" not in bounds and "exclusiveMaximum" not in bounds:
        bounds["maximum"] = high
    return {"type": "integer", "format": "int64" if high == MAX_INTEGER else "int32"} | bounds


def _string(rules: Any) -> Schema:
    schema: Schema = {"type": "string"}
    schema |= _limits(rules, {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"})
    for name in ("email", "uuid", "uri", "hostname"):
        if getattr(rules, name, False):
            schema["format"] = name
    if getattr(rules, "in"):
        schema["enum"] = list(getattr(rules, "in"))
    return schema
