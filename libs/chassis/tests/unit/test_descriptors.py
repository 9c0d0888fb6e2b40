"""What the packaged contracts say, and that all of it can be enforced."""

import importlib

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import MethodDescriptorProto

from chassis.rpc import descriptors
from chassis.rpc.descriptors import AccessRuleMissing
from chassis.rpc.validation import validator_for
from definable.options.v1 import options_pb2
from definable.options.v1.options_pb2 import Access, Rank

OWN = [name for name, _ in descriptors.methods() if name.startswith("definable.")]


@pytest.fixture(scope="module", autouse=True)
def _all_stubs() -> None:
    for file in descriptors.packaged().file:
        if file.package.startswith("definable."):
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")


class TestContracts:
    @pytest.mark.parametrize("name", OWN)
    def test_each_rpc_says_who_may_call_and_its_rules_can_be_enforced(self, name: str) -> None:
        method = descriptor_pool.Default().FindMethodByName(name)

        descriptors.access(method)
        validator_for(method.input_type)

    def test_each_file_comes_after_those_it_imports(self) -> None:
        for service in ("auth", "org", "kb", "conversation", "agent", "tool"):
            seen: set[str] = set()
            for file in descriptors.service_set(service).file:
                assert set(file.dependency) <= seen
                seen.add(file.name)
            assert any(name.startswith(f"definable/{service}/") for name in seen)

    def test_comments_travel_with_our_files_and_not_with_googles(self) -> None:
        for file in descriptors.packaged().file:
            assert file.HasField("source_code_info") == file.package.startswith("definable.")


class TestAccess:
    @pytest.mark.parametrize(
        "access",
        [
            Access(),
            Access(permission="a.b.c"),
            Access(granted_to=Rank.OWNER),
            Access(public=True, authenticated=True),
            Access(permission="a.b.c", granted_to=Rank.OWNER, internal=True),
            Access(public=True, callers=["gateway"]),
        ],
    )
    def test_a_rule_that_says_nothing_or_too_much_is_refused(self, access: Access) -> None:
        method = MethodDescriptorProto(name="Do")
        method.options.Extensions[options_pb2.access].CopyFrom(access)

        with pytest.raises(AccessRuleMissing):
            descriptors.access(method)


class TestCatalogue:
    def test_lists_permissions_with_the_lowest_rank_that_has_them(self) -> None:
        catalogue = descriptors.catalogue()

        assert catalogue["org.jobs.read"] == Rank.VIEWER
        assert catalogue["org.jobs.cancel"] == Rank.DEVELOPER
        assert list(catalogue) == sorted(catalogue)
        assert all(name.count(".") == 2 for name in catalogue)
