"""Generate proto/gen from the contracts: messages, gRPC stubs, their types, and descriptors.binpb.

Run it with the project's Python: `python proto/generate.py`. The output is a function of the sources and of the pinned
tools only. Files that no source accounts for any more are removed. `--check` writes nothing and fails when something
would change. Several runs at the same time wait for each other.
"""

import argparse
import fcntl
import importlib.util
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parent
OUTPUT = ROOT / "gen"
OWN, VENDORED = ROOT / "definable", ROOT / "third_party"
DESCRIPTORS = Path("definable") / "descriptors.binpb"
PACKAGE_MARK = '"""Generated from the contracts in proto/; see proto/README.md."""\n'


def main() -> int:
    """Bring proto/gen up to date; 1 when protoc refuses a source or `--check` finds a difference."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="change nothing, fail when something would change")
    check: bool = arguments.parse_args().check
    with _one_at_a_time(), tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        if not _run_protoc(fresh):
            return 1
        _mark_packages(fresh)
        _shrink(fresh / DESCRIPTORS)
        changes = list(_changes(fresh))
        for path in changes:
            print(f"{'differs' if check else 'wrote' if (fresh / path).exists() else 'removed'}: proto/gen/{path}")
            if not check:
                _apply(fresh, path)
        return 1 if check and changes else 0


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / "definable-generate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run_protoc(output: Path) -> bool:
    (output / DESCRIPTORS).parent.mkdir(parents=True)
    scripts = Path(sysconfig.get_path("scripts"))
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        *(f"-I{folder}" for folder in (ROOT, VENDORED, _googleapis(), _well_known())),
        *(f"--plugin=protoc-gen-{name}={scripts}/protoc-gen-{name}" for name in ("mypy", "mypy_grpc")),
        f"--python_out={output}",
        f"--mypy_out=quiet:{output}",
        f"--grpc_python_out={output}",
        f"--mypy_grpc_out=quiet,only_async:{output}",
        f"--descriptor_set_out={output / DESCRIPTORS}",
        "--include_imports",
        "--include_source_info",
        *_sources(),
    ]
    return subprocess.run(command, check=False, cwd=ROOT).returncode == 0


def _sources() -> list[str]:
    own = sorted(path.relative_to(ROOT).as_posix() for path in OWN.rglob("*.proto"))
    vendored = sorted(path.relative_to(VENDORED).as_posix() for path in VENDORED.rglob("*.proto"))
    return own + vendored


def _googleapis() -> Path:
    spec = importlib.util.find_spec("google.api")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("googleapis-common-protos is not installed")
    return Path(spec.submodule_search_locations[0]).parents[1]


def _well_known() -> Path:
    spec = importlib.util.find_spec("grpc_tools")
    if spec is None or spec.origin is None:
        raise SystemExit("grpcio-tools is not installed")
    return Path(spec.origin).parent / "_proto"


def _mark_packages(output: Path) -> None:
    """Make each folder a package and each top one typed; drop the stub modules of files without a service."""
    for module in [*output.rglob("*_pb2_grpc.py"), *output.rglob("*_pb2_grpc.pyi")]:
        if "class " not in module.read_text():
            module.unlink()
    for folder in {path.parent for path in output.rglob("*_pb2.py")}:
        while folder != output:
            (folder / "__init__.py").write_text(PACKAGE_MARK)
            folder = folder.parent
    for top in (output / "definable", output / "buf"):
        (top / "py.typed").touch()


def _shrink(descriptors: Path) -> None:
    """Keep comments of our own files only: the gateway's OpenAPI texts come from them."""
    files = FileDescriptorSet.FromString(descriptors.read_bytes())
    for file in files.file:
        if not file.package.startswith("definable."):
            file.ClearField("source_code_info")
    descriptors.write_bytes(files.SerializeToString(deterministic=True))


def _changes(fresh: Path) -> Iterator[Path]:
    """Yield the paths below proto/gen that are new, different, or no longer generated."""
    wanted = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    present = {
        path.relative_to(OUTPUT) for path in OUTPUT.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    for path in sorted(wanted | present):
        if path not in wanted or path not in present or (fresh / path).read_bytes() != (OUTPUT / path).read_bytes():
            yield path


def _apply(fresh: Path, path: Path) -> None:
    target = OUTPUT / path
    if not (fresh / path).exists():
        target.unlink()
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed, so that a process that is importing never sees half a module.
    partial = target.with_name(f".{target.name}.partial")
    partial.write_bytes((fresh / path).read_bytes())
    partial.replace(target)


if __name__ == "__main__":
    sys.exit(main())
