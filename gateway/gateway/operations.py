"""Routes from contracts: every RPC with `google.api.http` is REST, and nothing else is.

A `Table` is made whole from one set of descriptors and swapped whole, so that a request never sees half an update.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from google.api import annotations_pb2  # type: ignore[import-untyped]  # Google ships no types for it
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.rpc.descriptors import access
from definable.options.v1 import options_pb2
from gateway.errors import MethodNotAllowed
from gateway.transcoding import Codec, MessageReader
from gateway.values import Json, Problems, UnsupportedType, Write

HTTP_BODY: Final = "google.api.HttpBody"
PARAMETER = re.compile(r"{([\w.]+)}")
_SAFE: Final = frozenset({"GET", "HEAD"})
Values = Mapping[str, str]


class ContractBroken(Exception):
    """A set of descriptors cannot be exposed: two RPCs on one route, an RPC without a rule, a type without JSON."""


class Kind(StrEnum):
    """How an RPC is bound to HTTP."""

    UNARY = "unary"
    UPLOAD = "upload"  # a stream of messages in: the metadata, then the bytes
    DOWNLOAD = "download"  # a stream of google.api.HttpBody out
    EVENTS = "events"  # a stream of anything else out: server-sent events


class UploadParts(NamedTuple):
    """The two fields of an upload's messages."""

    metadata: str
    metadata_type: Descriptor
    chunk: str


@dataclass(eq=False)
class Operation:
    """One route: an HTTP method and path, and the RPC behind them."""

    method: MethodDescriptor
    http: str
    template: str
    body: str
    name: str
    codec: Codec
    access: options_pb2.Access
    request_class: type[Message]
    reply_class: type[Message]
    reader: MessageReader
    write: Write
    location: "Operation | None" = None

    @cached_property
    def kind(self) -> Kind:
        """How this RPC is bound to HTTP."""
        if self.method.client_streaming:
            return Kind.UPLOAD
        if not self.method.server_streaming:
            return Kind.UNARY
        return Kind.DOWNLOAD if self.method.output_type.full_name == HTTP_BODY else Kind.EVENTS

    @cached_property
    def service(self) -> str:
        """The service whose package the RPC is in; empty when the id in the path names it."""
        return "" if self.option(options_pb2.by_job_id) else service_of(self.method.containing_service.file.package)

    @cached_property
    def status(self) -> int:
        """The HTTP status of success."""
        if self.method.output_type.full_name == "google.protobuf.Empty":
            return 204
        declared: int = self.option(options_pb2.http_reply).status
        return declared or (201 if self.http == "POST" and self.method.name.startswith("Create") else 200)

    @cached_property
    def is_safe(self) -> bool:
        """Whether it changes nothing."""
        return self.http in _SAFE

    @cached_property
    def path_fields(self) -> list[str]:
        """The fields in the path, dotted where nested, in order."""
        return PARAMETER.findall(self.template)

    @cached_property
    def follow(self) -> options_pb2.Follow:
        """The stream that tells how the work goes on which this RPC starts; its method is empty when there is none."""
        return self.option(options_pb2.follow)  # type: ignore[no-any-return]  # an extension's value

    @cached_property
    def body_field(self) -> str:
        """The request's field that the client's body is, empty when it is the whole request."""
        if self.kind is Kind.UPLOAD:
            return self.upload_parts().metadata
        return self.body if self.body != "*" else ""

    def option(self, extension: Any) -> Any:
        """Return an option of the RPC."""
        return self.method.GetOptions().Extensions[extension]

    def upload_parts(self) -> UploadParts:
        """Return the fields that hold metadata and bytes. Raises ContractBroken when there aren't just these."""
        fields = self.method.input_type.fields
        metadata = [f for f in fields if f.message_type is not None]
        chunks = [f.name for f in fields if f.type == FieldDescriptor.TYPE_BYTES]
        if len(fields) != 2 or not metadata or not chunks or metadata[0].message_type is None:
            raise ContractBroken(f"{self.method.full_name} takes a stream, but not of metadata and chunks")
        return UploadParts(metadata[0].name, metadata[0].message_type, chunks[0])

    def query_fields(self) -> list[FieldDescriptor]:
        """The fields that a query may set: those of the request that are in neither path nor body."""
        if self.body == "*" or self.kind is Kind.UPLOAD:
            return []
        taken = {name.split(".")[0] for name in self.path_fields} | {self.body, "update_mask"}
        return [f for f in self.method.input_type.fields if f.name not in taken and _fits_in_query(f)]

    def request(self, values: Values, query: Mapping[str, list[str]], body: Json = None) -> Message:
        """Return the request message. Raises ValidationFailed, with paths as the client knows them."""
        problems, message = Problems(), self.request_class()
        if self.body:
            self._read_body(message, body, problems)
        allowed = {f.name for f in self.query_fields()} if query else ()
        for name, texts in query.items():
            if name in allowed:
                self.reader.set_text(message, name, texts, problems)
            else:
                problems.add(name[:100], "is not a parameter of this operation", "unknown_field")
        self.set_path(message, values, problems)
        problems.raise_if_any()
        return message

    def set_path(self, message: Any, values: Values, problems: Problems) -> None:
        """Set the fields that the path names."""
        for dotted, text in values.items():
            *parents, leaf = dotted.split(".")
            target = message
            for parent in parents:
                target = getattr(target, parent)
            self.codec.reader(target.DESCRIPTOR).set_text(target, leaf, [text], problems, at=leaf)

    def _read_body(self, message: Any, body: Json, problems: Problems) -> None:
        target = message if self.body == "*" else getattr(message, self.body)
        reader = self.reader if self.body == "*" else self.codec.reader(target.DESCRIPTOR)
        if self.http == "PATCH":
            paths = reader.patch(target, body, problems)
            if "update_mask" in message.DESCRIPTOR.fields_by_name:
                message.update_mask.paths.extend(paths)
        elif type(body) is not dict:
            problems.add("", "must be an object", "type")
        else:
            for name, value in body.items():
                if self.body == "*" and name in self.path_fields:
                    problems.add(name, "is given by the path", "unknown_field")
                else:
                    reader.set(target, name, value, name, problems)
        if self.body != "*":
            target.SetInParent()


def service_of(package: str) -> str:
    """Return the service that a package belongs to: "definable.kb.v1" is kb's."""
    parts = package.split(".")
    return parts[1] if len(parts) > 2 else ""


def _no_json(_: object) -> Json:
    raise UnsupportedType(HTTP_BODY)


def _fits_in_query(field: FieldDescriptor) -> bool:
    kinds = ("google.protobuf.Timestamp", "google.protobuf.Duration")
    return field.message_type is None or (field.message_type.full_name in kinds and not field.is_repeated)


@dataclass(slots=True)
class _Node:
    children: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    # By custom verb ("" without one), then by HTTP method.
    operations: dict[str, dict[str, Operation]] = field(default_factory=dict)


class Table:
    """All routes of one set of descriptors. Raises ContractBroken when they contradict each other."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self.files = files
        self.pool = DescriptorPool()
        for file in files.file:
            self.pool.Add(file)
        self.codec = Codec()
        self._root = _Node()
        self.operations = sorted(self._find(), key=lambda o: (o.template, o.http))
        self.by_rpc = {operation.method.full_name: operation for operation in self.operations}
        for operation in self.operations:
            self._add(operation)
        self._find_locations()

    def _find(self) -> Iterator[Operation]:
        names: set[str] = set()
        for file in self.files.file:
            for service in self.pool.FindFileByName(file.name).services_by_name.values():
                for method in service.methods:
                    for operation in self._bind(method):
                        if operation.name in names:
                            raise ContractBroken(f"two operations are named {operation.name}")
                        names.add(operation.name)
                        yield operation

    def _bind(self, method: MethodDescriptor) -> Iterator[Operation]:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()
        for number, binding in enumerate([rule, *rule.additional_bindings], start=1):
            verb = binding.WhichOneof("pattern")
            if verb is None:
                continue
            if access(method).internal:
                raise ContractBroken(f"{method.full_name} is internal and has a route")
            request, reply = method.input_type, method.output_type
            yield Operation(
                method=method,
                http=verb.upper(),
                template=getattr(binding, verb),
                body=binding.body,
                name=name if number == 1 else f"{name}_{number}",
                codec=self.codec,
                access=access(method),
                request_class=GetMessageClass(request),
                reply_class=GetMessageClass(reply),
                reader=self.codec.reader(request),
                write=_no_json if reply.full_name == HTTP_BODY else self.codec.writer(reply),
            )

    def _add(self, operation: Operation) -> None:
        node = self._root
        path, verb = _split_verb(operation.template)
        for segment in path.split("/")[1:]:
            if PARAMETER.fullmatch(segment):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            elif "{" in segment:
                raise ContractBroken(f"{operation.template} has a parameter that is part of a segment")
            else:
                node = node.children.setdefault(segment, _Node())
        if operation.kind is Kind.UPLOAD:
            operation.upload_parts()
        here = node.operations.setdefault(verb, {})
        if here.setdefault(operation.http, operation) is not operation:
            raise ContractBroken(f"{operation.http} {operation.template} is the route of two RPCs")

    def _find_locations(self) -> None:
        """Link what makes a resource with what gets it: the reply has an `id` and one GET with one parameter."""
        getters: dict[Descriptor, Operation] = {}
        for operation in self.operations:
            if operation.http == "GET" and len(operation.path_fields) == 1 and operation.kind is Kind.UNARY:
                getters.setdefault(operation.method.output_type, operation)
        for operation in self.operations:
            if operation.status in (201, 202) and "id" in operation.method.output_type.fields_by_name:
                operation.location = getters.get(operation.method.output_type)

    def match(self, http: str, raw_path: bytes) -> tuple[Operation, dict[str, str]] | None:
        """Return the operation of a request and the values in its path, None when no route has this path.

        Raises MethodNotAllowed when the path has routes, but none for this method.
        """
        # A colon in an id has to come percent-encoded: as it is, it begins a verb.
        found = self._walk(*_split_verb(raw_path.partition(b"?")[0].decode("latin-1")))
        if found is None:
            return None
        operations, texts = found
        operation = operations.get(http) or (operations.get("GET") if http == "HEAD" else None)
        if operation is None:
            raise MethodNotAllowed(allow=", ".join(sorted(operations)))
        return operation, dict(zip(operation.path_fields, texts, strict=True))

    def _walk(self, path: str, verb: str) -> tuple[dict[str, Operation], list[str]] | None:
        node, texts = self._root, []
        for segment in path.split("/")[1:]:
            if segment in node.children:
                node = node.children[segment]
            elif node.parameter is not None and segment:
                texts.append(unquote(segment, errors="replace"))
                node = node.parameter
            else:
                return None
        operations = node.operations.get(verb)
        return (operations, texts) if operations else None


def _split_verb(template: str) -> tuple[str, str]:
    path, colon, verb = template.rpartition(":")
    return (path, verb) if colon and "/" not in verb else (template, "")
