"""Resolve the dependencies of the whole tree into `requirements/*.txt`, with hashes and without addresses.

`dev.txt` holds everything; `<distribution>.txt` what one deployable needs and `<distribution>-test.txt` what its tests
need too, both held to the versions of `dev.txt`; `servers.txt` and `build.txt` are for images. Locked versions stay
unless `--upgrade` (all) or `--upgrade-package NAME` is given.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEPLOYABLES = ["gateway", *(f"services/{name}" for name in ("agent", "auth", "conversation", "kb", "org", "tool"))]
WORKSPACE = ["proto", "libs/chassis", *DEPLOYABLES, "deploy/local"]
OWN = ["agent", "auth", "chassis", "contracts", "conversation", "gateway", "kb", "local", "org", "tool"]
OPTIONS = [
    "--quiet",
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-annotate",
    "--no-header",
]


def compile_requirements(target: str, *arguments: str) -> None:
    """Write `requirements/<target>.txt`; the distributions of this tree are resolved through and left out."""
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    own = [f"--no-emit-package=definable-{name}" for name in OWN]
    subprocess.run(
        [uv, "pip", "compile", *OPTIONS, *own, *arguments, "-o", f"requirements/{target}.txt"], cwd=ROOT, check=True
    )


def main(upgrades: list[str]) -> None:
    """Write every lock."""
    projects = [f"{folder}/pyproject.toml" for folder in WORKSPACE]
    compile_requirements("bootstrap", "--no-deps", "requirements/bootstrap.in")
    compile_requirements("no-deps", "--no-deps", "requirements/no-deps.in")
    compile_requirements("dev", *upgrades, "--all-extras", "requirements/dev.in", *projects)
    compile_requirements("build", "requirements/build.in", "--constraint=requirements/dev.txt")
    for folder in DEPLOYABLES:
        held = [f"{folder}/pyproject.toml", "--constraint=requirements/dev.txt"]
        compile_requirements(Path(folder).name, *held)
        compile_requirements(f"{Path(folder).name}-test", *held, "--extra=test")
    compile_requirements(
        "servers", "libs/chassis/pyproject.toml", "--constraint=requirements/dev.txt", "--extra=servers"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
