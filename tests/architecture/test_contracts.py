"""Laws of the contracts, checked on the packaged descriptors."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api import annotations_pb2  # type: ignore[import-untyped]  # Google ships no types for it
from google.protobuf import descriptor_pb2

from chassis.rpc.descriptors import packaged
from definable.options.v1 import options_pb2

SERVICES = {"auth", "org", "kb", "conversation", "agent", "tool"}
SHARED = {"jobs", "discovery"}
PERMISSION = re.compile(r"^([a-z]+)\.([a-z_]+)\.([a-z_]+)$")
# An event that every service announces has its name in the subject.
SUBJECT = re.compile(r"^definable\.([a-z]+|{service})\.[a-z_]+\.[a-z_]+\.v1$")
PROTO = Path(__file__).parents[2] / "proto" / "definable"
SAFE_VERBS = ("Get", "List", "Watch", "Search", "Download", "Authenticate", "Mint", "Resolve")


def files() -> Iterator[descriptor_pb2.FileDescriptorProto]:
    """Yield our own files."""
    return (file for file in packaged().file if file.package.startswith("definable."))


def rpcs() -> list[tuple[str, str, descriptor_pb2.MethodDescriptorProto]]:
    """Return owner, full name and descriptor of every RPC."""
    return [
        (file.package.split(".")[1], f"{file.package}.{service.name}.{method.name}", method)
        for file in files()
        for service in file.service
        for method in service.method
    ]


def access_of(method: descriptor_pb2.MethodDescriptorProto) -> options_pb2.Access:
    return method.options.Extensions[options_pb2.access]


def route_of(method: descriptor_pb2.MethodDescriptorProto) -> tuple[str, str] | None:
    rule = method.options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    return (verb.upper(), re.sub(r"{[^}]+}", "{}", getattr(rule, verb))) if verb else None


EVERY_RPC = pytest.mark.parametrize(("owner", "name", "method"), rpcs(), ids=[name for _, name, _ in rpcs()])


class TestAccessRules:
    @EVERY_RPC
    def test_every_rpc_has_exactly_one(
        self, owner: str, name: str, method: descriptor_pb2.MethodDescriptorProto
    ) -> None:
        access = access_of(method)

        assert sum([bool(access.permission), access.public, access.authenticated, access.internal]) == 1

    @EVERY_RPC
    def test_a_permission_names_its_service_and_a_rank(
        self, owner: str, name: str, method: descriptor_pb2.MethodDescriptorProto
    ) -> None:
        access = access_of(method)
        if not access.permission:
            assert access.granted_to == options_pb2.RANK_UNSPECIFIED
            return
        match = PERMISSION.match(access.permission)
        assert match is not None
        assert match[1] == owner or owner in SHARED
        assert access.granted_to != options_pb2.RANK_UNSPECIFIED

    @EVERY_RPC
    def test_what_is_internal_has_no_route(
        self, owner: str, name: str, method: descriptor_pb2.MethodDescriptorProto
    ) -> None:
        assert not (access_of(method).internal and route_of(method))

    def test_one_permission_has_one_rank(self) -> None:
        ranks = {(access_of(method).permission, access_of(method).granted_to) for _, _, method in rpcs()}
        permissions = Counter(permission for permission, _ in ranks if permission)

        assert [permission for permission, count in permissions.items() if count > 1] == []


class TestRoutes:
    def test_no_two_rpcs_share_one(self) -> None:
        routes = Counter(route for _, _, method in rpcs() if (route := route_of(method)))

        assert [route for route, count in routes.items() if count > 1] == []

    def test_every_one_has_a_service(self) -> None:
        assert {owner for owner, _, method in rpcs() if route_of(method)} <= SERVICES | SHARED

    def test_paths_are_kebab_case_and_versioned(self) -> None:
        for _, name, method in rpcs():
            route = route_of(method)
            if route and not route[1].startswith("/.well-known/"):
                assert re.fullmatch(r"/v1(/([a-z]+(-[a-z]+)*|{}))+(:[a-z][A-Za-z]*)?", route[1]), name

    def test_reads_are_get_and_changes_are_not(self) -> None:
        for _, name, method in rpcs():
            route = route_of(method)
            if route and name.split(".")[-1].startswith(("Get", "List", "Watch", "Download")):
                assert route[0] == "GET", name
            elif route and not name.split(".")[-1].startswith("Search"):
                assert route[0] != "GET", name


class TestMessages:
    def test_names_are_unique_in_the_fleet(self) -> None:
        names = Counter(message.name for file in files() for message in file.message_type)

        assert [name for name, count in names.items() if count > 1] == []

    def test_events_are_facts_of_their_own_service(self) -> None:
        for file in files():
            for message in file.message_type:
                subject = message.options.Extensions[options_pb2.event].subject
                if subject:
                    match = SUBJECT.match(subject)
                    assert match is not None, subject
                    assert match[1] in (file.package.split(".")[1], "{service}")

    def test_subjects_are_unique(self) -> None:
        subjects = Counter(
            subject
            for file in files()
            for message in file.message_type
            if (subject := message.options.Extensions[options_pb2.event].subject)
        )

        assert [subject for subject, count in subjects.items() if count > 1] == []

    def test_lists_are_paged(self) -> None:
        messages = {f".{file.package}.{message.name}": message for file in files() for message in file.message_type}
        unpaged = {"ListFleetKeys", "ListMembershipsOfUser", "ListToolsForRun"}
        for _, name, method in rpcs():
            rpc = name.split(".")[-1]
            if rpc.startswith("List") and rpc not in unpaged:
                assert {"page_size", "page_token"} <= {field.name for field in messages[method.input_type].field}, name
                assert "next_page_token" in {field.name for field in messages[method.output_type].field}, name


class TestComments:
    @pytest.mark.parametrize("service", sorted(SERVICES | SHARED | {"options"}))
    def test_there_are_fifty_lines_for_each_hundred(self, service: str) -> None:
        lines = [
            line.strip()
            for path in (PROTO / service).rglob("*.proto")
            for line in path.read_text().splitlines()
            if line.strip()
        ]
        comments = [line for line in lines if line.startswith("//")]

        assert len(comments) >= 0.5 * (len(lines) - len(comments))

    def test_every_rpc_message_and_field_has_one(self) -> None:
        bare = []
        for file in files():
            commented = {tuple(place.path) for place in file.source_code_info.location if place.leading_comments}
            for number, message in enumerate(file.message_type):
                bare += [message.name] if (4, number) not in commented else []
                bare += [
                    f"{message.name}.{field.name}"
                    for index, field in enumerate(message.field)
                    if (4, number, 2, index) not in commented
                ]
            for number, service in enumerate(file.service):
                bare += [
                    f"{service.name}.{method.name}"
                    for index, method in enumerate(service.method)
                    if (6, number, 2, index) not in commented
                ]

        assert bare == []
