"""The three servers under the fleet, started and ended together."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chassis.servers import EmbeddedNats, EmbeddedPostgres, EmbeddedS3, EmbeddedServer
from fleet.settings import Ports


class Servers:
    """Postgres, NATS and the S3 store of a fleet, each in a folder of its own."""

    def __init__(self, data: Path, ports: Ports, *, durable: bool = True) -> None:
        self.postgres = EmbeddedPostgres(data / "postgres", port=ports.postgres, durable=durable)
        self.nats = EmbeddedNats(data / "nats", port=ports.nats, durable=durable)
        self.s3 = EmbeddedS3(data / "s3", port=ports.s3, durable=durable)

    @property
    def all(self) -> tuple[EmbeddedServer, ...]:
        """Every server."""
        return self.postgres, self.nats, self.s3

    def stop(self) -> None:
        """End what runs, gracefully."""
        _together(server.stop for server in self.all)

    def kill(self) -> None:
        """End what runs, as a crash would."""
        _together(server.kill for server in self.all)


def _together(actions: Iterable[Callable[[], object]]) -> None:
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(action) for action in actions]:
            done.result()
