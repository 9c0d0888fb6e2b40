"""Which processes belong to the fleet: a folder of public keys."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chassis.crypto import load_public_key

LOOK_AGAIN_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class TrustFolder:
    """Public keys of processes: `<name>.pub`, and `<name>.<anything>.pub` while a process changes its key.

    A file holds an Ed25519 key as PEM, or as the base64 of its 32 bytes. Files that came, changed or went count within
    a second; a file that holds no key is reported and skipped.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._looked_at = float("-inf")
        self._seen: Mapping[str, tuple[int, int]] = {}
        self._keys: Mapping[str, tuple[Ed25519PublicKey, ...]] = {}

    def __call__(self, process: str) -> Sequence[Ed25519PublicKey]:
        """Return the keys of a process; none for a stranger."""
        self._look()
        return self._keys.get(process, ())

    def _look(self) -> None:
        if self._clock() - self._looked_at < LOOK_AGAIN_SECONDS:
            return
        self._looked_at = self._clock()
        files = {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in self._folder.glob("*.pub")}
        if files == self._seen:
            return
        keys: dict[str, tuple[Ed25519PublicKey, ...]] = {}
        for name in sorted(files):
            key = _read_key(self._folder / name)
            if key is None:
                _log.warning("trusted_key_unreadable", file=name)
                continue
            process = name.partition(".")[0]
            keys[process] = (*keys.get(process, ()), key)
        self._seen, self._keys = files, keys


def _read_key(path: Path) -> Ed25519PublicKey | None:
    try:
        return load_public_key(path)
    except (OSError, ValueError, UnsupportedAlgorithm):
        return None
