"""The six services have one shape, and nobody blocks the event loop or stacks slow middleware."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("auth", "org", "kb", "conversation", "agent", "tool")
PARTS = (
    "__main__.py",
    "main.py",
    "settings.py",
    "unit_of_work.py",
    "repositories",
    "models",
    "convert",
    "servicers",
    "application",
    "domain/errors.py",
    "domain/ids.py",
    "migrations/env.py",
    "migrations/versions",
)
# Names that stall every caller of the process when they run on the event loop.
BLOCKING = {
    ("time", "sleep"),
    ("subprocess", "run"),
    ("subprocess", "check_output"),
    ("os", "system"),
    ("requests", "get"),
}
SOURCES = ("libs/chassis/chassis", "gateway/gateway", *(f"services/{name}/{name}" for name in SERVICES))


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            yield path.relative_to(ROOT), ast.parse(path.read_text())


@pytest.mark.parametrize("service", SERVICES)
class TestShape:
    @pytest.mark.parametrize("part", PARTS)
    def test_every_service_has_the_same_parts(self, service: str, part: str) -> None:
        folder = ROOT / "services" / service / service

        assert (folder / part).exists() or (folder / f"{part}.py").exists()

    def test_main_only_wires(self, service: str) -> None:
        main = ast.parse((ROOT / "services" / service / service / "main.py").read_text())

        assert [node for node in ast.walk(main) if isinstance(node, ast.If | ast.For | ast.While | ast.Try)] == []

    def test_business_code_never_commits_and_has_no_sql(self, service: str) -> None:
        for path in (ROOT / "services" / service / service / "application").rglob("*.py"):
            text = path.read_text()
            assert ".commit(" not in text, path
            assert "import select" not in text, path


class TestCode:
    def test_no_blocking_call_in_async_code(self) -> None:
        found = [
            f"{path}:{node.lineno}"
            for path, module in modules()
            for function in ast.walk(module)
            if isinstance(function, ast.AsyncFunctionDef)
            for node in _own_nodes(function)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and (node.func.value.id, node.func.attr) in BLOCKING
        ]

        assert found == []

    def test_no_base_http_middleware(self) -> None:
        assert [str(path) for path, module in modules() if "BaseHTTPMiddleware" in _names(module)] == []

    def test_files_stay_readable(self) -> None:
        lengths = {path: len((ROOT / path).read_text().splitlines()) for path, _ in modules()}

        assert {str(path): lines for path, lines in lengths.items() if lines > 400} == {}


def _own_nodes(function: ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions within it, which may run in a thread."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def _names(module: ast.Module) -> set[str]:
    return {node.id for node in ast.walk(module) if isinstance(node, ast.Name)} | {
        alias.name for node in ast.walk(module) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
