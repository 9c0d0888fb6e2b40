"""The environment of every process: how the parts of a local fleet find and trust each other.

A variable that is set outside wins, so that `KB_INGEST__CONCURRENCY=1 make up` does what it says.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from chassis.servers import NatsAddress, PostgresAddress, S3Address
from chassis.servers.ports import HOST
from fleet.secrets import Secrets
from fleet.settings import SERVICES, Ports

DATABASE = "definable"
BUCKET = "definable"
# Children are made by exec, which needs none of gRPC's care; with it, each one writes a page of warnings.
QUIET_GRPC = {"GRPC_ENABLE_FORK_SUPPORT": "0"}


class Environment:
    """Computes the variables of each part from ports, secrets and the addresses of the servers."""

    def __init__(
        self, data: Path, ports: Ports, secrets: Secrets, *, postgres: PostgresAddress, nats: NatsAddress, s3: S3Address
    ) -> None:
        self._data, self._ports, self._secrets = data, ports, secrets
        self._postgres, self._nats, self._s3 = postgres, nats, s3

    def of(self, *parts: str, admin: bool = False) -> Mapping[str, str]:
        """Return the environment of a process that is these parts.

        With `admin` it holds the database superuser as well, which only bootstrap needs.
        """
        computed = {"PYTHONUNBUFFERED": "1", **QUIET_GRPC}
        for part in parts:
            computed |= self._gateway() if part == "gateway" else self._service(part)
            if admin:
                computed[f"{part.upper()}_DATABASE__ADMIN_URL"] = self._postgres.url()
        return computed | os.environ

    def _service(self, name: str) -> dict[str, str]:
        own = self._common(name) | self._database(name) | self._broker() | self._storage(name)
        own["GRPC__LISTEN"] = f"{HOST}:{self._ports.of(name)}"
        own["ENCRYPTION__KEY"] = self._secrets.encryption_key(name)
        own["EMAIL__FOLDER"] = str(self._data / "mail")
        if name == "auth":
            own["TRUST__FOLDER"] = str(self._secrets.keys)
            own["ISSUER"] = f"http://{HOST}:{self._ports.gateway}"
        return {f"{name.upper()}_{variable}": value for variable, value in own.items()}

    def _gateway(self) -> dict[str, str]:
        own = self._common("gateway") | {"LISTEN": f"{HOST}:{self._ports.gateway}"}
        return {f"GATEWAY_{variable}": value for variable, value in own.items()}

    def _common(self, name: str) -> dict[str, str]:
        peers = {f"PEERS__{peer.upper()}": f"{HOST}:{self._ports.of(peer)}" for peer in SERVICES if peer != name}
        return peers | {
            "KEYS__PRIVATE_KEY_FILE": str(self._secrets.private_key_file(name)),
            "METRICS_LISTEN": f"{HOST}:{self._ports.of(f'{name}_metrics')}",
        }

    def _database(self, name: str) -> dict[str, str]:
        roles = ("owner", "app", "machinery")
        passwords = {f"DATABASE__{role.upper()}_PASSWORD": self._secrets.password(name, role) for role in roles}
        return passwords | {
            "DATABASE__HOST": self._postgres.host,
            "DATABASE__PORT": str(self._postgres.port),
            "DATABASE__NAME": DATABASE,
        }

    def _broker(self) -> dict[str, str]:
        return {"NATS__URL": self._nats.url, "NATS__USER": self._nats.user, "NATS__PASSWORD": self._nats.password}

    def _storage(self, name: str) -> dict[str, str]:
        if name != "kb":
            return {}
        return {
            "STORAGE__ENDPOINT_URL": self._s3.endpoint_url,
            "STORAGE__REGION": self._s3.region,
            "STORAGE__BUCKET": BUCKET,
            "STORAGE__ACCESS_KEY": self._s3.access_key,
            "STORAGE__SECRET_KEY": self._s3.secret_key,
        }
