"""What the contracts say, read from the packaged descriptors."""

from collections.abc import Iterator
from functools import cache
from importlib import resources

from google.api import annotations_pb2  # type: ignore[import-untyped]  # Google ships no types for it
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto

from definable.options.v1 import options_pb2
from definable.options.v1.options_pb2 import Access

__all__ = ["access", "catalogue", "is_read_only", "methods", "packaged", "service_set"]


class AccessRuleMissing(RuntimeError):
    """An RPC has no access option, or one that says nothing or too much: a fault in the contract."""


@cache
def packaged() -> FileDescriptorSet:
    """Return all files of the contracts this process was built with, imports first. Do not change it."""
    data = resources.files("definable").joinpath("descriptors.binpb").read_bytes()
    return FileDescriptorSet.FromString(data)


@cache
def service_set(service: str) -> FileDescriptorSet:
    """Return the files of a service's package, those of jobs, and what both import, imports first."""
    files = {file.name: file for file in packaged().file}
    own = (f"definable.{service}.v1", "definable.jobs.v1")
    chosen: dict[str, FileDescriptorProto] = {}

    def choose(file: FileDescriptorProto) -> None:
        if file.name in chosen:
            return
        for name in file.dependency:
            choose(files[name])
        chosen[file.name] = file

    for file in packaged().file:
        if file.package in own:
            choose(file)
    return FileDescriptorSet(file=chosen.values())


def methods(files: FileDescriptorSet | None = None) -> Iterator[tuple[str, MethodDescriptorProto]]:
    """Yield full name ("definable.kb.v1.FileService.GetFile") and descriptor of each RPC."""
    for file in (files or packaged()).file:
        for service in file.service:
            for method in service.method:
                yield f"{file.package}.{service.name}.{method.name}", method


def access(method: MethodDescriptor | MethodDescriptorProto) -> Access:
    """Return who may call an RPC. Raises AccessRuleMissing when the contract doesn't say, or contradicts itself."""
    options = method.GetOptions() if isinstance(method, MethodDescriptor) else method.options
    rule: Access = options.Extensions[options_pb2.access]
    ways = [bool(rule.permission), rule.public, rule.authenticated, rule.internal]
    if sum(ways) != 1 or bool(rule.permission) != bool(rule.granted_to) or (rule.callers and not rule.internal):
        raise AccessRuleMissing(
            f"{method.name} needs exactly one of permission (with granted_to), public, authenticated, internal"
        )
    return rule


def is_read_only(method: MethodDescriptor) -> bool:
    """Whether an RPC is mapped to HTTP GET and therefore changes nothing."""
    return bool(method.GetOptions().Extensions[annotations_pb2.http].get)


@cache
def catalogue() -> dict[str, int]:
    """Return each permission of the contracts with the lowest built-in rank that has it, sorted by name.

    Raises AccessRuleMissing when two RPCs disagree about one permission.
    """
    found: dict[str, int] = {}
    for name, method in methods():
        if not name.startswith("definable."):
            continue
        rule = access(method)
        if rule.permission and found.setdefault(rule.permission, rule.granted_to) != rule.granted_to:
            raise AccessRuleMissing(f"{name} grants {rule.permission} to another rank than an earlier RPC")
    return dict(sorted(found.items()))
