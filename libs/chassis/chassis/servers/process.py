"""A server program that runs for one data folder, on ports of the loopback interface."""

import json
import os
import secrets
import signal
import sysconfig
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from chassis.servers.ports import HOST, free_ports, is_free
from chassis.servers.tracked import TrackedProcess, write_private


class ServerFailed(RuntimeError):
    """A server did not start, or did not stop; the message ends with the tail of its log."""


class EmbeddedServer(ABC):
    """A server program, its data folder and its ports on the loopback interface.

    The folder keeps the data, the credentials (readable by the owner only), the log and the pid. Several instances may
    name the same folder: they are the same server. `durable=False` is for tests: fast, safe from a crash of the
    server but not of the machine, and gone with the process that started it.
    `listen` is the interface, loopback unless told otherwise; `secrets` replaces those that the server would make.
    """

    name: ClassVar[str]
    extra_ports: ClassVar[Sequence[str]] = ()
    """Ports beside the main one that the program needs."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_timeout_seconds: ClassVar[float] = 60.0
    stop_timeout_seconds: ClassVar[float] = 30.0

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        listen: str = HOST,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.durable = durable
        self.listen = listen
        self._wanted_port = port
        self._given_secrets = dict(secrets or {})
        self._process = TrackedProcess(self.folder / "process.json")

    def start(self) -> Self:
        """Start the program, or take over the one that runs for the folder; return when it answers.

        Raises ServerFailed when it ends instead, when its port is taken, or after a minute.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.is_running():
            self._wait_until_ready()
            return self
        for attempts_left in (2, 1, 0):
            try:
                self._launch()
                self._wait_until_ready()
                break
            except ServerFailed:
                self.kill()
                # A free port can be taken by another process before the program binds it: choose others.
                if self._wanted_port is not None or not attempts_left:
                    raise
                (self.folder / "ports.json").unlink()
        return self

    def stop(self) -> None:
        """End the program gracefully, by its own pid; killed when it takes longer than its timeout."""
        self._process.end(self.stop_signal, timeout_seconds=self.stop_timeout_seconds)

    def kill(self) -> None:
        """End the program and its children at once, as a crash would."""
        self._process.end(signal.SIGKILL, timeout_seconds=10.0)

    def is_running(self) -> bool:
        """Say whether the program that was started for the folder still runs."""
        return self._process.is_running()

    @property
    def pid(self) -> int | None:
        """The running program's process id."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The main port: the given one, or the one that was free when the server was first started."""
        return self._wanted_port if self._wanted_port is not None else self.ports["main"]

    @property
    def ports(self) -> Mapping[str, int]:
        """All ports by name."""
        file = self.folder / "ports.json"
        ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
        return ports

    def is_ready(self) -> bool:
        """Say whether the program runs and answers as its clients need."""
        return self.is_running() and self._is_ready()

    @property
    def log_file(self) -> Path:
        """What the program wrote to stdout and stderr."""
        return self.folder / "server.log"

    @abstractmethod
    def _prepare(self, ports: Mapping[str, int]) -> None:
        """Write what the program needs before it starts."""

    @abstractmethod
    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Say whether the program answers as its clients need."""

    def _secret(self, name: str) -> str:
        """Return the secret of that name: the given one, or the folder's, made when first asked for."""
        if name in self._given_secrets:
            return self._given_secrets[name]
        file = self.folder / "secrets.json"
        known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        if name not in known:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            known[name] = secrets.token_hex(24)
            write_private(file, json.dumps(known))
        return known[name]

    def _launch(self) -> None:
        ports = self._choose_ports()
        write_private(self.folder / "ports.json", json.dumps(ports))
        self._prepare(ports)
        environment = {**os.environ, "HOME": str(self.folder)}
        command = self._command(ports)
        self._process.launch(
            command, folder=self.folder, environment=environment, log=self.log_file, tied=not self.durable
        )

    def _choose_ports(self) -> Mapping[str, int]:
        if self._wanted_port is not None and not is_free(self._wanted_port):
            raise ServerFailed(f"{self.name}: port {self._wanted_port} is taken by another process")
        names = ("main", *self.extra_ports)
        fresh = dict(zip(names, free_ports(len(names)), strict=True))
        kept = {name: port for name, port in self.ports.items() if name in fresh and is_free(port)}
        wanted = {} if self._wanted_port is None else {"main": self._wanted_port}
        return fresh | kept | wanted

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout_seconds
        while not self._is_ready():
            if not self.is_running():
                raise ServerFailed(f"{self.name} ended while it started:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} did not answer in time:\n{self._log_tail()}")
            time.sleep(0.05)

    def _log_tail(self) -> str:
        return self.log_file.read_text(errors="replace")[-2000:] if self.log_file.exists() else ""


def program(name: str) -> str:
    """Return the path of a program that a wheel put beside the interpreter."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise ServerFailed(f"{name} is not installed: install definable-chassis[servers]")
    return str(path)
