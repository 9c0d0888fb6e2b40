"""Context tokens, signed with the keys that only the fleet knows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auth.application.issuer import KeyRing
from auth.domain.errors import ScopesTooLong
from auth.domain.issuer import KeyPurpose
from auth.domain.tokens import ContextClaims, ContextToken
from chassis.rpc.tokens import CONTEXT_LIFETIME, Claims, ContextTokens, SigningKey

MAX_GRANTS_BYTES = 3 * 1024  # gRPC drops calls at random once metadata exceeds 8 KiB


class IssuerContextTokens:
    """Sign context tokens with the key ring."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def mint(self, claims: ContextClaims, *, now: datetime) -> ContextToken:
        """Sign a token that counts as issued at `now`. Raises ScopesTooLong when the grants don't fit."""
        if sum(len(grant) + 3 for grant in claims.rights.grants) > MAX_GRANTS_BYTES:
            raise ScopesTooLong
        signer = self._keys.signer(KeyPurpose.CONTEXT, now=now)
        minted = ContextTokens.mint(
            Claims(
                subject=claims.subject,
                kind=claims.kind,
                organization_id=claims.organization_id,
                principal_id=claims.user_id,
                rank=claims.rights.rank,
                grants=claims.rights.grants,
                credential_id=claims.credential_id,
                end_user=claims.end_user or None,
                service=claims.service or None,
                requests_per_minute=claims.requests_per_minute,
                allowed_addresses=claims.allowed_addresses,
            ),
            SigningKey(signer.kid, _private_key(signer.private_key)),
            now=now,
            lifetime=min(CONTEXT_LIFETIME, claims.expire_time - now) if claims.expire_time else CONTEXT_LIFETIME,
        )
        return ContextToken(text=minted.token, expire_time=minted.expire_time)


class OwnFleetKeys:
    """The keys that auth verifies its own context tokens with: those of the ring, without asking anybody."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of that name, None when it is not published."""
        return self._published().get(kid)

    async def refresh(self) -> None:
        """Read the keys again."""
        await self._keys.load()

    def _published(self) -> Mapping[str, Ed25519PublicKey]:
        now = datetime.now(UTC)
        return {key.kid: _public_key(key.public_key) for key in self._keys.published(KeyPurpose.CONTEXT, now=now)}


@lru_cache(maxsize=4)
def _private_key(raw: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(raw)


@lru_cache(maxsize=8)
def _public_key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)
