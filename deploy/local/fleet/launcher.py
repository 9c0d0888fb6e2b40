"""Starting and ending a whole fleet: servers, databases, services and gateway."""

import fcntl
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from chassis.servers import TrackedProcess
from chassis.servers.ports import HOST, is_listening
from fleet.environment import Environment
from fleet.secrets import Secrets
from fleet.servers import Servers
from fleet.settings import PARTS, SERVICES, Ports

TOGETHER = "fleet"
"""Name of the process that is all parts at once."""
READY_TIMEOUT_SECONDS = 120.0
DRAIN_SECONDS = 35.0


class FleetFailed(RuntimeError):
    """The fleet did not come up; the message says which part, with the end of its log."""


class Fleet:
    """A fleet whose data, keys and logs are in one folder.

    Any number of instances may name the same folder: they are the same fleet. Without `ports` it takes free ones and
    keeps them in the folder. `processes` gives each part its own process. `durable=False` is for tests: fast, and gone
    with who started it. `environment` adds variables for every part.
    """

    def __init__(
        self,
        data: Path,
        *,
        ports: Ports | None = None,
        processes: bool = False,
        durable: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data.absolute()
        self.ports = ports or Ports.kept_in(self.data / "ports.json")
        self.processes = processes
        self.durable = durable
        self.servers = Servers(self.data, self.ports, durable=durable)
        self.secrets = Secrets(self.data)
        self._extra = dict(environment or {})

    @property
    def url(self) -> str:
        """Where the gateway answers: http://127.0.0.1:port."""
        return f"http://{HOST}:{self.ports.gateway}"

    def address(self, service: str) -> str:
        """Return host:port of a service's gRPC."""
        return f"{HOST}:{self.ports.of(service)}"

    def start(self) -> None:
        """Start whatever does not run, and return when the gateway says that all of it is ready.

        Raises FleetFailed or chassis.servers.ServerFailed.
        """
        with self._one_at_a_time():
            self.secrets.make()
            (self.data / "mail").mkdir(exist_ok=True)
            self._end_processes_of_the_other_mode()
            # Parts of the other way of running are gone by now.
            if not self.is_running():
                self._start_servers_and_prepare()
                for name in self._process_names():
                    self._launch(name)
            self._wait_until_ready()

    def stop(self) -> None:
        """End everything gracefully: what is in flight finishes first, the servers go last."""
        with self._one_at_a_time():
            # The gateway first: it stops taking requests while the services can still answer those it has.
            self._end(["gateway"], signal.SIGTERM)
            self._end([TOGETHER, *SERVICES], signal.SIGTERM)
            self.servers.stop()

    def kill(self) -> None:
        """End every process, servers included, with SIGKILL."""
        self._end([TOGETHER, *PARTS], signal.SIGKILL)
        self.servers.kill()

    def start_one(self, name: str) -> None:
        """Start one part; the fleet must run in processes. Returns when its port answers."""
        self._launch(self._own_process(name))
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not is_listening(self.ports.of(name)):
            self._check_alive(name, deadline)
            time.sleep(0.05)

    def stop_one(self, name: str) -> None:
        """End one part gracefully; the fleet must run in processes."""
        self._end([self._own_process(name)], signal.SIGTERM)

    def kill_one(self, name: str) -> None:
        """End one part with SIGKILL; the fleet must run in processes."""
        self._end([self._own_process(name)], signal.SIGKILL)

    def restart_one(self, name: str) -> None:
        """End one part gracefully and start it again; the fleet must run in processes."""
        self.stop_one(name)
        self.start_one(name)

    def migrate(self) -> None:
        """Start the servers and bring every service's schema up to date."""
        with self._one_at_a_time():
            self.secrets.make()
            self._start_servers_and_prepare()

    def environment(self, *parts: str, admin: bool = False) -> Mapping[str, str]:
        """Return the environment of a process that is these parts; the servers must have been started."""
        postgres, nats, s3 = self.servers.postgres.address, self.servers.nats.address, self.servers.s3.address
        environment = Environment(self.data, self.ports, self.secrets, postgres=postgres, nats=nats, s3=s3)
        return {**environment.of(*parts, admin=admin), **self._extra}

    def process(self, name: str) -> TrackedProcess:
        """Return the process of a part, or of `fleet`, whether it runs or not."""
        return TrackedProcess(self.data / "run" / f"{name}.json")

    def log_file(self, name: str) -> Path:
        """Return the file with what a process wrote."""
        return self.data / "logs" / f"{name}.log"

    def is_running(self) -> bool:
        """Say whether all of this fleet runs, in the one way or the other, servers included."""
        runs = {name for name in (TOGETHER, *PARTS) if self.process(name).is_running()}
        return (TOGETHER in runs or runs == set(PARTS)) and all(server.is_running() for server in self.servers.all)

    def is_ready(self) -> bool:
        """Say whether the gateway and everything behind it is ready."""
        return self.readiness()[0]

    def readiness(self) -> tuple[bool, str]:
        """Return whether the gateway and everything behind it is ready, and what the gateway says about it."""
        connection = HTTPConnection(HOST, self.ports.gateway, timeout=5)
        try:
            connection.request("GET", "/readyz")
            reply = connection.getresponse()
            return reply.status == 200, str(reply.read(), "utf-8")
        except (OSError, HTTPException) as error:
            return False, f"{self.url}/readyz: {error!r}"
        finally:
            connection.close()

    def _process_names(self) -> Sequence[str]:
        return PARTS if self.processes else (TOGETHER,)

    def _own_process(self, name: str) -> str:
        if not self.processes:
            raise FleetFailed(f"{name} has no process of its own: start the fleet with processes")
        return name

    def _end_processes_of_the_other_mode(self) -> None:
        self._end([name for name in (TOGETHER, *PARTS) if name not in self._process_names()], signal.SIGTERM)

    def _start_servers_and_prepare(self) -> None:
        environment = self.environment(*SERVICES, admin=True)
        with ThreadPoolExecutor() as pool:
            # The databases are made while the store, the slowest of the three, still starts.
            rest = [pool.submit(server.start) for server in (self.servers.s3, self.servers.nats)]
            self.servers.postgres.start()
            self._prepare(environment)
            for started in rest:
                started.result()

    def _prepare(self, environment: Mapping[str, str]) -> None:
        log = self.log_file("prepare")
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "fleet.preparing"]
        with log.open("wb") as output:
            done = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False)
        if done.returncode != 0:
            raise FleetFailed(f"bootstrap or migration failed:\n{_tail(log)}")

    def _launch(self, name: str) -> None:
        process = self.process(name)
        if process.is_running():
            return
        process.file.parent.mkdir(parents=True, exist_ok=True)
        log = self.log_file(name)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))  # the run before, one of them
        parts = PARTS if name == TOGETHER else (name,)
        module = "fleet.serving" if name == TOGETHER else name
        command = [sys.executable, "-m", module, *([] if name == TOGETHER else ["serve"])]
        environment = self.environment(*parts)
        process.launch(command, folder=self.data, environment=environment, log=log, tied=not self.durable)

    def _end(self, names: Sequence[str], number: signal.Signals) -> None:
        with ThreadPoolExecutor(len(PARTS) + 1) as pool:
            for done in [pool.submit(self._end_one, name, number) for name in names]:
                done.result()

    def _end_one(self, name: str, number: signal.Signals) -> None:
        self.process(name).end(number, timeout_seconds=DRAIN_SECONDS)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not self.is_ready():
            for name in self._process_names():
                self._check_alive(name, deadline)
            time.sleep(0.2)

    def _check_alive(self, name: str, deadline: float) -> None:
        if not self.process(name).is_running():
            raise FleetFailed(f"{name} ended while it started:\n{_tail(self.log_file(name))}")
        if time.monotonic() > deadline:
            raise FleetFailed(f"the fleet is not ready after {READY_TIMEOUT_SECONDS:.0f} s:\n{self.readiness()[1]}")

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _tail(file: Path) -> str:
    return file.read_text(errors="replace")[-3000:] if file.exists() else "(no log)"
