"""python -m fleet up | down | kill | status | logs | migrate."""

import argparse
import sys
from collections.abc import Callable, Mapping

from chassis.servers import ServerFailed
from chassis.servers.ports import HOST
from fleet.launcher import TOGETHER, Fleet, FleetFailed
from fleet.settings import PARTS, FleetSettings

LOG_LINES = 20


def main() -> int:
    """Run one verb against the fleet that the settings name; 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m fleet", description="The whole fleet on this machine.")
    parser.add_argument("verb", choices=sorted(VERBS))
    verb = parser.parse_args().verb
    settings = FleetSettings()
    fleet = Fleet(settings.data, ports=settings.ports, processes=settings.processes)
    try:
        return VERBS[verb](fleet)
    except (FleetFailed, ServerFailed) as error:
        print(error, file=sys.stderr)
        return 1


def up(fleet: Fleet) -> int:
    """Start what does not run and say where it is."""
    fleet.start()
    print(f"The fleet is ready: {fleet.url}  (documentation at {fleet.url}/docs, data in {fleet.data})")
    return 0


def down(fleet: Fleet) -> int:
    """End everything gracefully."""
    fleet.stop()
    return 0


def kill(fleet: Fleet) -> int:
    """End everything with SIGKILL."""
    fleet.kill()
    return 0


def migrate(fleet: Fleet) -> int:
    """Bring all schemas up to date."""
    fleet.migrate()
    return 0


def status(fleet: Fleet) -> int:
    """Print each process with its pid and port; 0 when the fleet is ready."""
    for server in fleet.servers.all:
        print(_line(server.name, server.pid, server.port))
    together = fleet.process(TOGETHER).pid
    for part in PARTS:
        print(_line(part, together or fleet.process(part).pid, fleet.ports.of(part)))
    # Another fleet may answer on the same port: ready is only what runs here.
    ready = fleet.is_running() and fleet.is_ready()
    print("ready" if ready else "not ready")
    return 0 if ready else 1


def logs(fleet: Fleet) -> int:
    """Print the last lines of every log."""
    files = [server.log_file for server in fleet.servers.all]
    for file in [*files, *sorted((fleet.data / "logs").glob("*.log"))]:
        if file.exists():
            lines = file.read_text(errors="replace").splitlines()
            print(f"==> {file.relative_to(fleet.data)}", *lines[-LOG_LINES:], sep="\n")
    return 0


def _line(name: str, pid: int | None, port: int) -> str:
    return f"{name:<14}{HOST}:{port:<7}{'stopped' if pid is None else f'pid {pid}'}"


VERBS: Mapping[str, Callable[[Fleet], int]] = {
    "up": up,
    "down": down,
    "kill": kill,
    "migrate": migrate,
    "status": status,
    "logs": logs,
}

if __name__ == "__main__":
    sys.exit(main())
