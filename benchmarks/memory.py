"""What the idle fleet holds in memory: proportional set size of every process it started, servers included."""

import os
from pathlib import Path

import psutil

from benchmarks.table import Table
from fleet.settings import FleetSettings

BAR_MB = 1000


def measure() -> Table | None:
    """Return a row a process of the running local fleet, largest first."""
    data = str(Path(FleetSettings().data).resolve())
    sizes = [
        (_name(process), process.memory_full_info().pss / 1e6)
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _is_ours(process, data)
    ]
    if not sizes:
        print("memory: left out, the local fleet is not running")
        return None
    table = Table(
        title="Idle memory",
        columns=("process", "PSS MB"),
        note=f"Whole fleet with Postgres, NATS and S3. Bar: < {BAR_MB} MB.",
        rows=[(name, f"{size:.0f}") for name, size in sorted(sizes, key=lambda row: -row[1]) if size >= 5],
    )
    table.rows.append(("together", f"{sum(size for _, size in sizes):.0f}"))
    return table


def _is_ours(process: psutil.Process, data: str) -> bool:
    """Tell a process of this fleet by its data folder, on its command line or among those of its ancestors."""
    try:
        lineage = [process, *process.parents()]
        return any(data in argument for one in lineage for argument in one.cmdline()) or data in process.environ().get(
            "FLEET_DATA", "-"
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _name(process: psutil.Process) -> str:
    line = process.cmdline()
    if "-m" in line:
        return " ".join(line[line.index("-m") + 1 :][:3])
    return Path(line[0]).name if line else process.name()
