"""What the idle fleet holds in memory: proportional set size of every process it started, servers included."""

from pathlib import Path

import psutil

from benchmarks.table import Table
from fleet.launcher import TOGETHER, Fleet
from fleet.settings import PARTS, FleetSettings

BAR_MB = 1000


def measure() -> Table | None:
    """Return a row a process of the running local fleet, largest first."""
    sizes = [(_name(process), process.memory_full_info().pss / 1e6) for process in _processes()]
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


def _processes() -> list[psutil.Process]:
    """Return the fleet's processes and their children."""
    settings = FleetSettings()
    fleet = Fleet(settings.data, ports=settings.ports, processes=settings.processes)
    started = [server.pid for server in fleet.servers.all] + [fleet.process(name).pid for name in (TOGETHER, *PARTS)]
    roots = [psutil.Process(pid) for pid in started if pid is not None]
    return roots + [child for root in roots for child in root.children(recursive=True)]


def _name(process: psutil.Process) -> str:
    line = process.cmdline()
    if "-m" in line:
        return " ".join(line[line.index("-m") + 1 :][:3])
    return Path(line[0]).name if line else process.name()
