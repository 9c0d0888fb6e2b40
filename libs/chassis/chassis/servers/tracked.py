"""A background process that is found again, later and by others, through a file that names it."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


class TrackedProcess:
    """A process in the background whose pid and start time are kept in a file.

    Any number of instances may name the same file: they are the same process. It outlives who launched it, is signalled
    by its own pid only, and a process that was given the pid later is not taken for it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._child: subprocess.Popen[bytes] | None = None

    def launch(
        self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path, tied: bool = False
    ) -> None:
        """Start the process in a session of its own, its output appended to the log.

        A tied process is killed when the one that launched it ends, in whatever way: a test run leaves nothing.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if tied:
            _guard(self._child.pid)
        started = psutil.Process(self._child.pid).create_time()
        write_private(self.file, json.dumps({"pid": self._child.pid, "create_time": started}))

    @property
    def pid(self) -> int | None:
        """The running process's id, None when it does not run."""
        process = self._find()
        return None if process is None else process.pid

    def is_running(self) -> bool:
        """Say whether the process still runs."""
        return self._find() is not None

    def end(self, number: signal.Signals, *, timeout_seconds: float) -> None:
        """Signal the process, wait until it and its children ended, and kill what has not by the timeout.

        With SIGKILL the children are killed as well: nothing else would tell them.
        """
        process = self._find()
        if process is not None:
            _dismiss_guard(process.pid)
            family = _family(process)
            for member in family if number == signal.SIGKILL else [process]:
                _send(member, number)
            _, alive = psutil.wait_procs(family, timeout=timeout_seconds)
            for member in alive:
                _send(member, signal.SIGKILL)
            psutil.wait_procs(alive, timeout=10)
        if self._child is not None:
            _dismiss_guard(self._child.pid)
            self._child.wait(timeout=10)
            self._child = None
        self.file.unlink(missing_ok=True)

    def _find(self) -> psutil.Process | None:
        try:
            state = json.loads(self.file.read_text())
            process = psutil.Process(state["pid"])
            # Another process may have been given the pid since: the start time tells them apart.
            same = abs(process.create_time() - state["create_time"]) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None


def write_private(file: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only."""
    draft = file.with_name(f"{file.name}.{os.getpid()}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)
    draft.replace(file)


_guards: dict[int, subprocess.Popen[bytes]] = {}
"""By the pid of what they guard, for as long as this process: a guard acts once nothing refers to its input."""


def _guard(pid: int) -> None:
    # The input ends when this process does, even by SIGKILL: nobody else holds the other end of it.
    waits = f"cat >/dev/null; kill -9 -{pid}"
    _guards[pid] = subprocess.Popen(["sh", "-c", waits], stdin=subprocess.PIPE, start_new_session=True)


def _dismiss_guard(pid: int) -> None:
    guard = _guards.pop(pid, None)
    if guard is not None:
        os.killpg(guard.pid, signal.SIGKILL)
        guard.communicate()


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
