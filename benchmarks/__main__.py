"""`python -m benchmarks`: measure the running local fleet and print a table a claim; `--write` keeps them in
RESULTS.md.
"""

import argparse
import os
import platform
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import first_answer, memory, retrieval
from benchmarks.table import Table

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Run what can be run here; a benchmark that lacks its data says so and is left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=os.environ.get("GATEWAY_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--only", choices=("memory", "retrieval", "first-answer"), action="append", default=[])
    parser.add_argument("--write", action="store_true", help="keep the tables in benchmarks/RESULTS.md")
    options = parser.parse_args()
    wanted: dict[str, Callable[[], Table | None]] = {
        "memory": memory.measure,
        "retrieval": lambda: retrieval.measure(options.url, os.environ.get("CORPUS", "")),
        "first-answer": first_answer.measure,
    }
    tables = [table for name, measure in wanted.items() if name in (options.only or wanted) and (table := measure())]
    for table in tables:
        print(table.text())
    if options.write:
        RESULTS.write_text(_report(tables))


def _report(tables: list[Table]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    head = (
        f"# Results\n\n{datetime.now(UTC):%Y-%m-%d}, commit {commit or 'unknown'}, {machine}. Made by `make bench`.\n\n"
    )
    return head + "\n".join(table.text() for table in tables)


if __name__ == "__main__":
    main()
