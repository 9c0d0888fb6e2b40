"""Run the tests of each distribution by themselves, then those that cross them: `make test`.

Each distribution has a package of tests of its own, which passes with only that distribution installed; in one run of
pytest they would be in each other's way.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APART = [
    "libs/chassis", "gateway", "services/agent", "services/auth", "services/conversation", "services/kb",
    "services/org", "services/tool",
]  # fmt: skip
WHOLE_FLEET = ["deploy/local", "tests"]
"""A worker more would start a fleet more."""


def run(suite: str, workers: int) -> bool:
    """Run one suite; False when a test failed, or when it has none."""
    print(f"\n== {suite}", flush=True)
    parallel = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 and suite in APART else []
    return (
        subprocess.run([sys.executable, "-m", "pytest", "-q", *parallel, suite], cwd=ROOT, check=False).returncode == 0
    )


def main(suites: list[str]) -> int:
    """Run the suites, all of them when none is named; 1 when one failed."""
    workers = int(os.environ.get("WORKERS") or 2)
    failed = [suite for suite in suites or [*APART, *WHOLE_FLEET] if not run(suite, workers)]
    print(f"\n== failed: {', '.join(failed)}" if failed else "\n== every suite passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
