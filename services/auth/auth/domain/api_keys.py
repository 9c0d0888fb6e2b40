"""The written form of an API key: `dfk_live_<12 public>_<43 secret>_<6 checksum>`.

The public part finds the key, the secret part proves it, and the checksum refuses a mistyped or truncated key
without a query. The parts are base62: 43 characters carry the 256 bits of the secret.
"""

import hashlib
import hmac
import zlib
from dataclasses import dataclass

from auth.domain import base62

PREFIX = "dfk_live_"
_PUBLIC_LENGTH = 12
_SECRET_LENGTH = 43
_CHECKSUM_LENGTH = 6
_PUBLIC_END = len(PREFIX) + _PUBLIC_LENGTH
_SECRET_END = _PUBLIC_END + 1 + _SECRET_LENGTH
_LENGTH = _SECRET_END + 1 + _CHECKSUM_LENGTH


@dataclass(frozen=True)
class KeyText:
    """A key taken apart."""

    public_id: str
    secret: str

    def show(self) -> str:
        """Write the whole key, as its owner sends it."""
        unchecked = f"{PREFIX}{self.public_id}_{self.secret}"
        return f"{unchecked}_{_checksum(unchecked)}"

    @property
    def public_prefix(self) -> str:
        """What may be shown of the key."""
        return PREFIX + self.public_id

    def digest(self, *, pepper: bytes) -> bytes:
        """Hash the secret as it is stored. The pepper is kept out of the table that holds the digest."""
        return hmac.digest(pepper, f"api-key:{self.public_id}:{self.secret}".encode(), hashlib.sha256)


def mint(entropy: bytes) -> KeyText:
    """Make a key from 41 random bytes: 9 for the public part, 32 for the secret."""
    if len(entropy) != 41:
        raise ValueError("a key takes 41 random bytes")
    return KeyText(
        public_id=base62.encode(int.from_bytes(entropy[:9], "big"), length=_PUBLIC_LENGTH),
        secret=base62.encode(int.from_bytes(entropy[9:], "big"), length=_SECRET_LENGTH),
    )


def looks_like_key(credential: str) -> bool:
    """Say whether the credential claims to be an API key; anything else is taken for an access token."""
    return credential.startswith("dfk_")


def parse(text: str) -> KeyText | None:
    """Take a key apart; None when it is mistyped, truncated, or no key at all."""
    if len(text) != _LENGTH or not text.startswith(PREFIX):
        return None
    if text[_PUBLIC_END] != "_" or text[_SECRET_END] != "_":
        return None
    key = KeyText(public_id=text[len(PREFIX) : _PUBLIC_END], secret=text[_PUBLIC_END + 1 : _SECRET_END])
    well_formed = base62.is_base62(key.public_id) and base62.is_base62(key.secret)
    return key if well_formed and key.show() == text else None


def _checksum(text: str) -> str:
    """CRC-32 (the one of zlib) in base62; 62^6 exceeds 2^32, so nothing is cut off."""
    return base62.encode(zlib.crc32(text.encode()), length=_CHECKSUM_LENGTH)
