"""Secrets at rest."""

import base64
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from chassis import process_keys
from chassis.crypto import SealBroken, Sealer, StaticKeys, keys_from_settings, load_private_key, load_public_key
from chassis.ids import new_id
from chassis.settings import EncryptionSettings

SEALER = Sealer(StaticKeys(b"k" * 32))


class TestSealer:
    @given(st.binary(max_size=200), st.none() | st.uuids(), st.text(max_size=20))
    def test_opens_what_it_sealed(self, content: bytes, organization_id: UUID | None, purpose: str) -> None:
        sealed = SEALER.seal(content, organization_id=organization_id, purpose=purpose)

        assert SEALER.open(sealed, organization_id=organization_id, purpose=purpose) == content

    @given(st.data())
    def test_opens_nothing_that_was_changed(self, data: st.DataObject) -> None:
        sealed = bytearray(SEALER.seal(b"secret", organization_id=None, purpose="key"))
        sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))

        with pytest.raises(SealBroken):
            SEALER.open(bytes(sealed), organization_id=None, purpose="key")

    @given(st.binary(max_size=130))
    def test_opens_nothing_that_was_never_sealed(self, content: bytes) -> None:
        with pytest.raises(SealBroken):
            SEALER.open(content, organization_id=None, purpose="key")

    def test_binds_organization_and_purpose(self) -> None:
        organization = new_id()
        sealed = SEALER.seal(b"secret", organization_id=organization, purpose="provider")

        for other, purpose in ((new_id(), "provider"), (None, "provider"), (organization, "webhook")):
            with pytest.raises(SealBroken):
                SEALER.open(sealed, organization_id=other, purpose=purpose)

    def test_seals_the_same_value_differently_each_time(self) -> None:
        assert SEALER.seal(b"x", organization_id=None, purpose="") != SEALER.seal(
            b"x", organization_id=None, purpose=""
        )

    def test_opens_with_an_older_key_while_rotating(self) -> None:
        old, new = b"o" * 32, b"n" * 32
        sealed = Sealer(StaticKeys(old)).seal(b"secret", organization_id=None, purpose="")

        assert Sealer(StaticKeys(new, old)).open(sealed, organization_id=None, purpose="") == b"secret"
        with pytest.raises(SealBroken):
            Sealer(StaticKeys(new)).open(sealed, organization_id=None, purpose="")


class TestKeys:
    def test_come_from_settings_in_base64(self) -> None:
        first, second = (base64.b64encode(key * 32).decode() for key in (b"a", b"b"))
        keys = keys_from_settings(EncryptionSettings(key=SecretStr(f"{first},{second}")))

        assert keys.current()[1] == b"a" * 32

    @pytest.mark.parametrize("text", ["", "short", "!" * 44])
    def test_refuse_what_is_no_key(self, text: str) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            keys_from_settings(EncryptionSettings(key=SecretStr(text)))
        with pytest.raises(ValueError, match="not set"):
            keys_from_settings(EncryptionSettings())

    def test_files_of_processes_are_read_as_pem_and_as_base64(self, tmp_path: Path) -> None:
        process_keys.make(tmp_path, ["kb"])
        key = load_private_key(tmp_path / "kb.key")
        raw = tmp_path / "raw"
        raw.write_text(base64.b64encode(key.private_bytes_raw()).decode() + "\n")

        assert load_public_key(tmp_path / "kb.pub") == key.public_key()
        assert load_private_key(raw).private_bytes_raw() == key.private_bytes_raw()

    def test_files_without_a_key_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "kb.key"
        path.write_text(base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()[:31]).decode())

        with pytest.raises(ValueError, match="32 bytes"):
            load_private_key(path)
