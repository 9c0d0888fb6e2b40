"""JWTs with one algorithm: compact serialization, Ed25519, one spelling for each token.

Sixty lines and not a library, because what a library offers beyond this is what attacks on JWTs live from: algorithms
to choose from, keys in headers, formats to switch to.
"""

import base64
import binascii
import json
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chassis.errors import CredentialMissing

ALGORITHM = "EdDSA"
LONGEST_TOKEN = 8192


def token_type(token: str) -> str:
    """Return the "typ" of a token's header, unverified; empty when it is no token."""
    try:
        return str(_decode_part(token.partition(".")[0]).get("typ", ""))
    except CredentialMissing:
        return ""


def sign(header: Mapping[str, object], payload: Mapping[str, object], key: Ed25519PrivateKey) -> str:
    """Return the token of a header, which names the algorithm, and a payload."""
    signed = f"{_encode_part(header)}.{_encode_part(payload)}"
    return f"{signed}.{_encode_bytes(key.sign(signed.encode()))}"


def header(token: str, kind: str) -> Mapping[str, object]:
    """Return the header of a token whose "typ" is `kind`, unverified. Raises CredentialMissing."""
    if len(token) > LONGEST_TOKEN or token.count(".") != 2 or not token.isascii():
        raise CredentialMissing()
    found = _decode_part(token.partition(".")[0])
    # A header with anything that would have to be understood ("crit") is refused by not being understood.
    if found.get("alg") != ALGORITHM or found.get("typ") != kind or "crit" in found:
        raise CredentialMissing()
    return found


def payload(token: str, key: Ed25519PublicKey) -> Mapping[str, object]:
    """Return the payload that the key signed. Raises CredentialMissing."""
    found = verified_payload(token, key)
    if found is None:
        raise CredentialMissing()
    return found


def verified_payload(token: str, key: Ed25519PublicKey) -> Mapping[str, object] | None:
    """Return the payload that the key signed, None when another one did. Raises CredentialMissing when malformed."""
    signed, _, signature = token.rpartition(".")
    try:
        key.verify(_decode_bytes(signature), signed.encode())
    except InvalidSignature:
        return None
    return _decode_part(signed.partition(".")[2])


def claimed_subject(token: str) -> str:
    """Return whom a token claims to be of, unverified: to find the keys to verify it with. Raises CredentialMissing."""
    subject = _decode_part(token.split(".")[1]).get("sub")
    if not isinstance(subject, str):
        raise CredentialMissing()
    return subject


def _encode_part(part: Mapping[str, object]) -> str:
    return _encode_bytes(json.dumps(part, separators=(",", ":")).encode())


def _decode_part(text: str) -> Mapping[str, object]:
    try:
        part = json.loads(_decode_bytes(text))
    except (ValueError, RecursionError) as error:
        raise CredentialMissing() from error
    if not isinstance(part, dict):
        raise CredentialMissing()
    return part


def _encode_bytes(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decode_bytes(text: str) -> bytes:
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise CredentialMissing() from error
    # Spare bits of the last character would give one token several spellings.
    if _encode_bytes(value) != text:
        raise CredentialMissing()
    return value
