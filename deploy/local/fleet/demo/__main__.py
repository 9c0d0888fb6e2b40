"""`python -m fleet.demo`: the main job against the running local fleet, with the time of each step."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

from fleet.demo.client import Client
from fleet.demo.journey import Broken, Journey

READY_TIMEOUT_SECONDS = 120


def main() -> int:
    """Run the journey; return 0 when every step did what it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=os.environ.get("GATEWAY_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--no-crash", action="store_true", help="leave out the step that kills the fleet")
    options = parser.parse_args()
    corpus = os.environ.get("CORPUS")
    begun = time.monotonic()
    try:
        wait_until_ready(options.url)
        journey = Journey(Client(options.url), corpus=Path(corpus) if corpus else None)
        journey.run()
        if not options.no_crash:
            journey.survive(kill=lambda: fleet("kill"), start=lambda: fleet("up"))
    except Broken as broken:
        print(f"BROKEN: {broken}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - begun:7.2f} s  in all; the fleet is still up at {options.url}/docs")
    return 0


def fleet(verb: str) -> None:
    """Run a verb of the local fleet's launcher. Raises CalledProcessError."""
    subprocess.run([sys.executable, "-m", "fleet", verb], check=True)


def wait_until_ready(url: str) -> None:
    """Return when the gateway and everything behind it is ready. Raises Broken after two minutes."""
    until = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise Broken(f"{url}/readyz is not ready")


if __name__ == "__main__":
    sys.exit(main())
