"""What events of all services look like, by the contracts this process was built with."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

AnyDescriptor = Any  # Any: two implementations of descriptors, which share no type
_LARGE = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)


class EventSchemas:
    """Reads the payload of an event by the type of its message."""

    def __init__(self, descriptors: FileDescriptorSet) -> None:
        self._pool = DescriptorPool()
        for file in descriptors.file:
            self._pool.Add(file)
        self._kinds: dict[str, type[Message]] = {}

    def fields(self, message_type: str, payload: bytes) -> dict[str, Any]:  # Any: JSON
        """Read the fields of an event, by name; nothing when its type or its bytes are not understood.

        Whole numbers are numbers, times are RFC 3339, enums are names; what is not set is there with its default,
        except times and messages. Fields of a newer release are left out.
        """
        try:
            return _fields(self._kind(message_type).FromString(payload))
        except (KeyError, DecodeError):
            return {}

    def _kind(self, message_type: str) -> type[Message]:
        if message_type not in self._kinds:
            self._kinds[message_type] = GetMessageClass(self._pool.FindMessageTypeByName(message_type))
        return self._kinds[message_type]


def _fields(message: Message) -> dict[str, Any]:
    shown = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return _with_numbers(shown, message.DESCRIPTOR)


def _with_numbers(shown: dict[str, Any], descriptor: AnyDescriptor) -> dict[str, Any]:
    """Turn 64-bit numbers, which protobuf's JSON writes as text, into numbers; those of events stay far below 2^53."""
    for field in descriptor.fields:
        value = shown.get(field.name)
        if field.cpp_type in _LARGE and value is not None:
            shown[field.name] = [int(item) for item in value] if isinstance(value, list) else int(value)
        elif field.message_type is not None:
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict):
                    _with_numbers(item, field.message_type)
    return shown
