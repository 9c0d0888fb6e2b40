"""Install one service with nothing but contracts and chassis, and run its own tests there.

    python tools/alone.py kb            (all services without a name)

Each gets an environment of its own in a temporary folder, from its own lock; nothing of the workspace is on the path.
It is the proof that a service can be built, tested and started without the others.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SERVICES = ("auth", "org", "kb", "conversation", "agent", "tool")


def main() -> int:
    """Return 0 when the tests of every service named pass alone."""
    failed = [service for service in sys.argv[1:] or SERVICES if not passes_alone(service)]
    print(f"failed alone: {', '.join(failed)}" if failed else "every service stands alone")
    return 1 if failed else 0


def passes_alone(service: str) -> bool:
    """Install a service into a new environment and run its tests from a copy of its folder."""
    with tempfile.TemporaryDirectory(prefix=f"alone-{service}-") as folder:
        python = _environment(Path(folder), service)
        copy = Path(folder) / service
        shutil.copytree(ROOT / "services" / service, copy, ignore=shutil.ignore_patterns(service, "__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        others = [other for other in SERVICES if other != service]
        strangers = f"import importlib.util as u; assert not [n for n in {others!r} if u.find_spec(n)]"
        _run(python, "-c", strangers, cwd=folder)
        _run(python, "-c", f"import {service}.main", cwd=folder)
        tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(copy), "-c", os.devnull]
        options = ["--import-mode=importlib", "-o", "asyncio_mode=auto", *_loops(), str(copy / "tests")]
        return subprocess.run([*tests, *options], cwd=copy, check=False).returncode == 0


def _loops() -> list[str]:
    scopes = ("asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope")
    return [argument for scope in scopes for argument in ("-o", f"{scope}=session")]


def _environment(folder: Path, service: str) -> str:
    """Make an environment with the service, chassis and contracts; return its Python."""
    python = str(folder / "venv" / "bin" / "python")
    uv = str(Path(sys.executable).with_name("uv"))
    _run(sys.executable, "-m", "venv", str(folder / "venv"))
    install = [uv, "pip", "install", "--quiet", "--python", python]
    _run(*install, "--require-hashes", "-r", str(ROOT / "requirements" / f"{service}-test.txt"))
    _run(*install, "--require-hashes", "-r", str(ROOT / "requirements" / "build.txt"))
    _run(*install, "--require-hashes", "--no-deps", "-r", str(ROOT / "requirements" / "no-deps.txt"))
    parts = [str(ROOT / part) for part in ("proto", "libs/chassis", f"services/{service}")]
    _run(*install, "--no-deps", "--no-build-isolation", *parts)
    return python


def _run(*command: str, cwd: str | None = None) -> None:
    subprocess.run(command, check=True, cwd=cwd)


if __name__ == "__main__":
    sys.exit(main())
