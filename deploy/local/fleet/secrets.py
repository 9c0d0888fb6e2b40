"""Keys and passwords of a local fleet: made once, kept in its data folder, readable by the owner only."""

import base64
import json
import secrets
from pathlib import Path

from chassis import process_keys
from chassis.servers.tracked import write_private
from fleet.settings import PARTS, SERVICES

ROLES = ("owner", "app", "machinery")


class Secrets:
    """The secrets of the fleet whose data is in a folder."""

    def __init__(self, data: Path) -> None:
        self.keys = data / "keys"
        self._file = data / "secrets.json"

    def make(self) -> None:
        """Make what is missing; what exists stays."""
        process_keys.make(self.keys, PARTS)
        known = self._known()
        missing = {name: value for name, value in _fresh().items() if name not in known}
        if missing:
            write_private(self._file, json.dumps(known | missing, indent=2))

    def private_key_file(self, part: str) -> Path:
        """Return the file of the Ed25519 key by which a process proves which it is."""
        return self.keys / f"{part}.key"

    def password(self, service: str, role: str) -> str:
        """Return the password of a service's database role: owner, app or machinery."""
        return self._known()[f"{service}_{role}_password"]

    def encryption_key(self, service: str) -> str:
        """Return the key of a service's secrets at rest: 32 bytes in base64."""
        return self._known()[f"{service}_encryption_key"]

    def _known(self) -> dict[str, str]:
        known: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}
        return known


def _fresh() -> dict[str, str]:
    passwords = {f"{service}_{role}_password": secrets.token_hex(24) for service in SERVICES for role in ROLES}
    keys = {f"{service}_encryption_key": base64.b64encode(secrets.token_bytes(32)).decode() for service in SERVICES}
    return passwords | keys
