"""What events of all services look like, by the contracts this process was built with."""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from definable.options.v1 import options_pb2

_JOB_EVENTS = {"queued": "JobQueued", "progressed": "JobProgressed", "finished": "JobFinished"}


class EventSchemas:
    """Reads the payload of an event by its subject."""

    def __init__(self, descriptors: FileDescriptorSet) -> None:
        pool = DescriptorPool()
        for file in descriptors.file:
            pool.Add(file)
        names = dict(_subjects(descriptors))
        self._by_subject = {
            subject: GetMessageClass(pool.FindMessageTypeByName(name)) for subject, name in names.items()
        }
        self._jobs = {
            fact: GetMessageClass(pool.FindMessageTypeByName(f"definable.jobs.v1.{name}"))
            for fact, name in _JOB_EVENTS.items()
        }

    def fields(self, subject: str, payload: bytes) -> dict[str, object]:
        """Read the fields of an event, by name; nothing when the subject or the bytes are not understood.

        Whole numbers are numbers, times are RFC 3339, enums are names. Fields of a newer release are left out.
        """
        kind = self._kind(subject)
        if kind is None:
            return {}
        try:
            return _fields(kind.FromString(payload))
        except DecodeError:
            return {}

    def _kind(self, subject: str) -> type[Message] | None:
        # The subject of a job's event names the service, so no option can hold it.
        _, _, resource, fact, *_ = [*subject.split("."), "", "", "", ""]
        return self._jobs.get(fact) if resource == "job" else self._by_subject.get(subject)


def _subjects(descriptors: FileDescriptorSet) -> Iterator[tuple[str, str]]:
    for file in descriptors.file:
        for message in file.message_type:
            subject = _subject(message)
            if subject:
                yield subject, _full_name(file, message)


def _subject(message: DescriptorProto) -> str:
    return message.options.Extensions[options_pb2.event].subject


def _full_name(file: FileDescriptorProto, message: DescriptorProto) -> str:
    return f"{file.package}.{message.name}"


def _fields(message: Message) -> dict[str, object]:
    # protobuf's JSON writes 64-bit numbers as text; ids and counts here stay far below 2^53.
    fields: dict[str, object] = MessageToDict(message, preserving_proto_field_name=True)
    for descriptor, value in message.ListFields():
        if isinstance(value, int) and isinstance(fields.get(descriptor.name), str) and descriptor.enum_type is None:
            fields[descriptor.name] = value
    return fields
