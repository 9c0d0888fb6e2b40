"""The Ed25519 key pairs by which processes prove to auth which they are.

`python -m chassis.process_keys FOLDER NAME…` makes `<name>.key`, which the process is given, and `<name>.pub`, which
auth is given. Pairs that exist stay.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def make(folder: Path, names: Iterable[str]) -> None:
    """Make the key pairs that are missing in the folder; private keys are readable by their owner only."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in names:
        if not (folder / f"{name}.pub").exists():
            _make_pair(folder, name)


def _make_pair(folder: Path, name: str) -> None:
    key = Ed25519PrivateKey.generate()
    private_file = folder / f"{name}.key"
    private_file.touch(mode=0o600)
    private_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    # The public half last: where it is, the pair is whole.
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)


def main() -> None:
    """Make the pairs that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m chassis.process_keys", description="Make keys of processes.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    arguments = parser.parse_args()
    make(arguments.folder, arguments.names)


if __name__ == "__main__":
    main()
