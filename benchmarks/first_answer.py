"""From nothing to the first cited answer: a fresh clone, `make up`, and the first steps of the main job.

The package cache is warm when the machine has installed the same lock before; the clone has no environment and no
data of its own.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.table import Table
from fleet.demo.client import Client
from fleet.demo.journey import Journey
from fleet.settings import Ports

BAR_SECONDS = 60


def measure() -> Table | None:
    """Return the times of a fresh clone's first steps, each in seconds since the beginning."""
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory(prefix="definable-") as folder:
        clone, ports = Path(folder) / "clone", Ports.free()
        subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
        environment = os.environ | {f"FLEET_PORTS__{name.upper()}": str(ports.of(name)) for name in Ports.model_fields}
        environment.pop("FLEET_DATA", None)
        begun = time.monotonic()
        try:
            subprocess.run(["make", "--silent", "up"], cwd=clone, env=environment, check=True)
            up_seconds = time.monotonic() - begun
            _first_answer(f"http://127.0.0.1:{ports.gateway}")
            answer_seconds = time.monotonic() - begun
        finally:
            subprocess.run(["make", "--silent", "down"], cwd=clone, env=environment, check=False)
    return Table(
        title="From a fresh clone to the first cited answer",
        columns=("step", "seconds"),
        note=f"With a warm package cache. Bar: < {BAR_SECONDS} s.",
        rows=[("`make up` ready", f"{up_seconds:.1f}"), ("first cited answer", f"{answer_seconds:.1f}")],
    )


def _first_answer(url: str) -> None:
    journey = Journey(Client(url), say=lambda _: None)
    journey.sign_up()
    journey.upload()
    journey.build_agent()
    journey.converse()
