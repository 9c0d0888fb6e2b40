"""Learning from the services what they serve, so that a new route needs no release of the gateway."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from google.api import annotations_pb2  # type: ignore[import-untyped]  # Google ships no types for it
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from google.protobuf.message import DecodeError

from chassis import telemetry
from definable.discovery.v1.discovery_pb2 import GetDescriptorsResponse
from gateway.channels import Channels
from gateway.exposure import Exposure
from gateway.operations import ContractBroken, Table, service_of
from gateway.values import UnsupportedType

_log = telemetry.get_logger(__name__)

PACKAGED: Final = "packaged"
CURRENT: Final = "current"
INCOMPATIBLE: Final = "incompatible"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the gateway knows of a service's contract."""

    state: str = PACKAGED
    """"packaged" until the service was heard, then "current", or "incompatible": the last good contract stays."""
    version: str = ""
    broken_rule: str = ""


class Discovery:
    """Keeps the table of routes up to date with what the services say they serve."""

    def __init__(self, channels: Channels, exposure: Exposure, *, interval_seconds: float) -> None:
        self._channels = channels
        self._exposure = exposure
        self._interval_seconds = interval_seconds
        self.standings = {name: Standing() for name in channels.names}

    async def run(self) -> None:
        """Ask all services now and every interval, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._interval_seconds)

    async def refresh(self) -> None:
        """Ask all services once. One that doesn't answer keeps its routes."""
        answers = await asyncio.gather(*(self._channels.ask_descriptors(name) for name in self.standings))
        for name, answer in zip(list(self.standings), answers, strict=True):
            known = self.standings[name]
            if answer is not None and (answer.version != known.version or known.state == PACKAGED):
                self.standings[name] = self._consider(name, answer)

    def _consider(self, service: str, answer: GetDescriptorsResponse) -> Standing:
        """Take over a service's contract when that breaks nobody."""
        current = self._exposure.table.files
        try:
            candidate = merge(current, FileDescriptorSet.FromString(answer.descriptor_set), service)
            broken = next(breaking_changes(current, candidate), "")
            if not broken and _differs(current, candidate):
                self._exposure.table = Table(candidate)
                _log.info("contract_updated", service=service, version=answer.version)
        except (ContractBroken, UnsupportedType, DecodeError, TypeError, KeyError) as error:
            # TypeError and KeyError are what the descriptor pool raises on files that don't fit together.
            broken = f"{type(error).__name__}: {error}"
        if broken:
            _log.error("contract_refused", service=service, version=answer.version, broken_rule=broken)
            return Standing(INCOMPATIBLE, answer.version, broken)
        return Standing(CURRENT, answer.version)


def merge(current: FileDescriptorSet, offered: FileDescriptorSet, service: str) -> FileDescriptorSet:
    """Return the current files with those of the service's own package replaced, imports first.

    Foreign files (Google's, say) are taken when they are new; another service's or the fleet's own never.
    """
    files = {file.name: file for file in current.file}
    for file in offered.file:
        is_own = file.package == f"definable.{service}.v1"
        if is_own or (file.name not in files and not file.package.startswith("definable.")):
            files[file.name] = file
    ordered: dict[str, FileDescriptorProto] = {}

    def place(name: str) -> None:
        if name in ordered:
            return
        for dependency in files[name].dependency:
            place(dependency)
        ordered[name] = files[name]

    for name in files:
        place(name)
    return FileDescriptorSet(file=ordered.values())


def _differs(one: FileDescriptorSet, other: FileDescriptorSet) -> bool:
    by_name = {file.name: file for file in one.file}
    return len(one.file) != len(other.file) or any(by_name.get(file.name) != file for file in other.file)


def breaking_changes(before: FileDescriptorSet, after: FileDescriptorSet) -> Iterator[str]:
    """Yield what a client of `before` could no longer rely on: removals, and changes of numbers, types and routes."""
    old, new = _elements(before), _elements(after)
    for name, element in old.items():
        if name not in new:
            yield f"{name} was removed"
        elif element != new[name]:
            yield f"{name} was changed"


def _elements(files: FileDescriptorSet) -> dict[str, object]:
    """Return everything that may not change, by a name that must stay."""
    found: dict[str, object] = {}
    for file in files.file:
        if not service_of(file.package):
            continue
        for message in file.message_type:
            found |= _message(f"{file.package}.{message.name}", message)
        for enum in file.enum_type:
            found |= _enum(f"{file.package}.{enum.name}", enum)
        for service in file.service:
            for method in service.method:
                streams = (method.client_streaming, method.server_streaming)
                name = f"{file.package}.{service.name}.{method.name}"
                found[name] = (method.input_type, method.output_type, streams, _http_rule(method))
    return found


def _http_rule(method: MethodDescriptorProto) -> bytes:
    rule = method.options.Extensions[annotations_pb2.http]
    return bytes(rule.SerializeToString(deterministic=True))


def _message(name: str, message: DescriptorProto) -> dict[str, object]:
    found: dict[str, object] = {name: None}
    for field in message.field:
        union = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        found[f"{name}.{field.name}"] = (field.number, field.type, field.label, field.type_name, union)
    for nested in message.nested_type:
        found |= _message(f"{name}.{nested.name}", nested)
    for enum in message.enum_type:
        found |= _enum(f"{name}.{enum.name}", enum)
    return found


def _enum(name: str, enum: EnumDescriptorProto) -> dict[str, object]:
    return {f"{name}.{value.name}": value.number for value in enum.value}
