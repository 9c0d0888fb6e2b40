"""python -m chassis.servers run|check postgres|nats|s3: one server in the foreground, for containers.

SERVERS_FOLDER is the data folder (/data), SERVERS_LISTEN the interface (127.0.0.1). Secrets not given are made:
SERVERS_POSTGRES_PASSWORD, SERVERS_NATS_PASSWORD, SERVERS_S3_ACCESS_KEY, SERVERS_S3_SECRET_KEY.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from chassis.servers import EmbeddedNats, EmbeddedPostgres, EmbeddedS3, EmbeddedServer
from chassis.servers.ports import HOST

KINDS: Mapping[str, tuple[type[EmbeddedServer], int]] = {
    "postgres": (EmbeddedPostgres, 7432),
    "nats": (EmbeddedNats, 7422),
    "s3": (EmbeddedS3, 7433),
}
SECRETS = {
    "superuser": "SERVERS_POSTGRES_PASSWORD",
    "account": "SERVERS_NATS_PASSWORD",
    "access_key": "SERVERS_S3_ACCESS_KEY",
    "secret_key": "SERVERS_S3_SECRET_KEY",
}


def main() -> int:
    """Run the server until SIGTERM, or say whether the running one answers."""
    parser = argparse.ArgumentParser(prog="python -m chassis.servers", description="One server in the foreground.")
    parser.add_argument("verb", choices=["run", "check"])
    parser.add_argument("server", choices=sorted(KINDS))
    arguments = parser.parse_args()
    server = _server(arguments.server)
    return _run(server) if arguments.verb == "run" else int(not server.is_ready())


def _server(name: str) -> EmbeddedServer:
    kind, port = KINDS[name]
    given = {secret: os.environ[variable] for secret, variable in SECRETS.items() if variable in os.environ}
    folder = Path(os.environ.get("SERVERS_FOLDER", "/data")) / name
    return kind(folder, port=port, listen=os.environ.get("SERVERS_LISTEN", HOST), secrets=given)


def _run(server: EmbeddedServer) -> int:
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: ended.append(received))
    server.start()
    while not ended:
        if not server.is_running():
            sys.stderr.write(f"{server.name} ended:\n{server.log_file.read_text(errors='replace')[-2000:]}\n")
            return 1
        time.sleep(0.2)
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
