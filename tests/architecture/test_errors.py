"""Reasons in errors.proto and in the code are the same ones."""

import importlib
import re
from pathlib import Path

import pytest

from chassis.errors import FleetError
from chassis.rpc.descriptors import packaged

ROOT = Path(__file__).parents[2]
SERVICES = ("auth", "org", "kb", "conversation", "agent", "tool")


def documented(service: str) -> set[str]:
    """Return the reasons of a service's errors.proto, without the prefix of their enum."""
    [enum] = [
        enum
        for file in packaged().file
        if file.package == f"definable.{service}.v1"
        for enum in file.enum_type
        if enum.name.endswith("ErrorReason")
    ]
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
    return {value.name.removeprefix(prefix) for value in enum.value if value.number}


def subclasses(of: type[FleetError]) -> set[type[FleetError]]:
    direct = set(of.__subclasses__())
    return direct.union(*(subclasses(one) for one in direct))


@pytest.mark.parametrize("service", SERVICES)
class TestReasons:
    def test_every_one_that_is_raised_is_documented(self, service: str) -> None:
        importlib.import_module(f"{service}.domain.errors")
        raised = {error.reason for error in subclasses(FleetError) if error.__module__.split(".")[0] == service}
        common = {
            value.name.removeprefix("COMMON_ERROR_REASON_")
            for file in packaged().file
            for enum in file.enum_type
            if enum.name == "CommonErrorReason"
            for value in enum.value
        }

        assert raised - common <= documented(service)

    def test_every_one_that_is_documented_is_used(self, service: str) -> None:
        source = "\n".join(path.read_text() for path in (ROOT / "services" / service / service).rglob("*.py"))

        assert {reason for reason in documented(service) if f'"{reason}"' not in source} == set()
