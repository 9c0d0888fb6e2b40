"""Laws of the folder of trusted keys."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth.adapters.trust import TrustFolder


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def a_key() -> Ed25519PublicKey:
    return Ed25519PrivateKey.generate().public_key()


def pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class TestTrustFolder:
    def test_reads_both_forms_and_several_keys_of_one_process(self, tmp_path: Path) -> None:
        old, new, other = a_key(), a_key(), a_key()
        (tmp_path / "kb.pub").write_bytes(pem(old))
        (tmp_path / "kb.2026.pub").write_bytes(base64.b64encode(new.public_bytes_raw()) + b"\n")
        (tmp_path / "agent.pub").write_bytes(pem(other))
        folder = TrustFolder(tmp_path)
        assert {key.public_bytes_raw() for key in folder("kb")} == {old.public_bytes_raw(), new.public_bytes_raw()}
        assert folder("stranger") == ()

    def test_notices_within_a_second_what_came_and_went(self, tmp_path: Path) -> None:
        clock = Clock()
        folder = TrustFolder(tmp_path, clock=clock)
        assert folder("kb") == ()
        (tmp_path / "kb.pub").write_bytes(pem(a_key()))
        clock.now += 1
        assert len(folder("kb")) == 1
        (tmp_path / "kb.pub").unlink()
        clock.now += 1
        assert folder("kb") == ()

    def test_skips_what_is_no_key_of_the_right_kind(self, tmp_path: Path) -> None:
        elliptic = generate_private_key(SECP256R1()).public_key()
        (tmp_path / "a.pub").write_bytes(elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        (tmp_path / "b.pub").write_bytes(b"not a key")
        (tmp_path / "c.pub").write_bytes(b"")
        (tmp_path / "d.pub").write_bytes(pem(a_key()))
        folder = TrustFolder(tmp_path)
        assert [len(folder(name)) for name in "abcd"] == [0, 0, 0, 1]

    def test_trusts_nobody_without_a_folder(self, tmp_path: Path) -> None:
        assert TrustFolder(tmp_path / "missing")("kb") == ()
