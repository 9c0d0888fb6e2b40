"""What events of all services look like, by the contracts this process was built with."""

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass


class EventSchemas:
    """Reads the payload of an event by the type of its message."""

    def __init__(self, descriptors: FileDescriptorSet) -> None:
        self._pool = DescriptorPool()
        for file in descriptors.file:
            self._pool.Add(file)
        self._kinds: dict[str, type[Message]] = {}

    def fields(self, message_type: str, payload: bytes) -> dict[str, object]:
        """Read the fields of an event, by name; nothing when its type or its bytes are not understood.

        Whole numbers are numbers, times are RFC 3339, enums are names. Fields of a newer release are left out.
        """
        try:
            return _fields(self._kind(message_type).FromString(payload))
        except (KeyError, DecodeError):
            return {}

    def _kind(self, message_type: str) -> type[Message]:
        if message_type not in self._kinds:
            self._kinds[message_type] = GetMessageClass(self._pool.FindMessageTypeByName(message_type))
        return self._kinds[message_type]


def _fields(message: Message) -> dict[str, object]:
    # protobuf's JSON writes 64-bit numbers as text; counts and amounts in events stay far below 2^53.
    fields: dict[str, object] = MessageToDict(message, preserving_proto_field_name=True)
    for descriptor, value in message.ListFields():
        if isinstance(value, int) and isinstance(fields.get(descriptor.name), str) and descriptor.enum_type is None:
            fields[descriptor.name] = value
    return fields
