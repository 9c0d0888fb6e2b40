"""Secrets at rest, and the key files of processes.

A sealed value is an envelope: AES-256-GCM under a key of its own, which is sealed under the service's key.
Organization and purpose are bound as associated data, so a value copied to another row, tenant or column doesn't
open.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from chassis.settings import EncryptionSettings

_VERSION = 1
_NONCE_BYTES = 12
_KEY_BYTES = 32
_TAG_BYTES = 16
_KEY_ID_BYTES = 8
_WRAPPED_BYTES = _NONCE_BYTES + _KEY_BYTES + _TAG_BYTES


class SealBroken(Exception):
    """A sealed value was changed, belongs to another organization or purpose, or its key is not known."""


class KeyProvider(Protocol):
    """Where the service's keys come from."""

    def current(self) -> tuple[bytes, bytes]:
        """Return id (8 bytes) and key (32 bytes) to seal with."""
        ...

    def find(self, key_id: bytes) -> bytes | None:
        """Return the key of an id, None when it is not known."""
        ...


class StaticKeys:
    """Keys held in memory: the first one seals, all of them open."""

    def __init__(self, *keys: bytes) -> None:
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise ValueError("keys of 32 bytes are needed")
        self._keys: Mapping[bytes, bytes] = {sha256(key).digest()[:_KEY_ID_BYTES]: key for key in keys}

    def current(self) -> tuple[bytes, bytes]:
        """Return id and key to seal with."""
        return next(iter(self._keys.items()))

    def find(self, key_id: bytes) -> bytes | None:
        """Return the key of an id, None when it is not known."""
        return self._keys.get(key_id)


def keys_from_settings(settings: EncryptionSettings) -> StaticKeys:
    """Return the keys of the settings: one, or several separated by commas while rotating. Raises ValueError."""
    if settings.key is None:
        raise ValueError("ENCRYPTION__KEY is not set: 32 bytes in base64 are needed")
    return StaticKeys(*(_base64(part) for part in settings.key.get_secret_value().split(",")))


class Sealer:
    """Seals and opens values."""

    def __init__(self, key_provider: KeyProvider) -> None:
        self._keys = key_provider

    @classmethod
    def with_key(cls, key: bytes) -> "Sealer":
        """Return a sealer with one key of 32 bytes."""
        return cls(StaticKeys(key))

    def seal(self, plaintext: bytes, *, organization_id: UUID | None, purpose: str) -> bytes:
        """Return the envelope of a value, which is 97 bytes longer than the value."""
        key_id, key = self._keys.current()
        own_key, bound = os.urandom(_KEY_BYTES), _bound(organization_id, purpose)
        return bytes([_VERSION]) + key_id + _encrypt(key, own_key, bound) + _encrypt(own_key, plaintext, bound)

    def open(self, sealed: bytes, *, organization_id: UUID | None, purpose: str) -> bytes:
        """Return the value of an envelope. Raises SealBroken."""
        start = 1 + _KEY_ID_BYTES
        key = self._keys.find(sealed[1:start]) if sealed[:1] == bytes([_VERSION]) else None
        if key is None:
            raise SealBroken("unknown version or key")
        bound = _bound(organization_id, purpose)
        own_key = _decrypt(key, sealed[start : start + _WRAPPED_BYTES], bound)
        return _decrypt(own_key, sealed[start + _WRAPPED_BYTES :], bound)


def _bound(organization_id: UUID | None, purpose: str) -> bytes:
    return (organization_id.bytes if organization_id else bytes(16)) + purpose.encode()


def _encrypt(key: bytes, plaintext: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, bound)


def _decrypt(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
        raise SealBroken("too short")
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except InvalidTag as error:
        raise SealBroken("changed, or sealed for something else") from error


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a process's key: PKCS#8 PEM, or 32 raw bytes in base64. Raises OSError, ValueError."""
    content = path.read_bytes()
    if content.lstrip().startswith(b"-----BEGIN"):
        key = load_pem_private_key(content, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{path} holds no Ed25519 key")
        return key
    return Ed25519PrivateKey.from_private_bytes(_base64(content.decode("ascii", "replace")))


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read the public half of a process's key: PEM, or 32 raw bytes in base64. Raises OSError, ValueError."""
    content = path.read_bytes()
    if content.lstrip().startswith(b"-----BEGIN"):
        key = load_pem_public_key(content)
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError(f"{path} holds no Ed25519 key")
        return key
    return Ed25519PublicKey.from_public_bytes(_base64(content.decode("ascii", "replace")))


def _base64(text: str) -> bytes:
    try:
        value = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a key is 32 bytes in base64") from error
    if len(value) != _KEY_BYTES:
        raise ValueError("a key is 32 bytes in base64")
    return value
