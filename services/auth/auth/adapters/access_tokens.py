"""Access tokens: JWTs of RFC 9068's type, signed with the issuer's public set of keys."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from auth.application.issuer import KeyRing
from auth.domain import ids
from auth.domain.errors import CredentialInvalid
from auth.domain.issuer import KeyPurpose
from auth.domain.tokens import AccessClaims
from chassis.errors import FleetError, TokenExpired
from chassis.ids import ORGANIZATION, USER, new_id

AUDIENCE = "definable"
TYPE = "at+jwt"
ALGORITHM = "EdDSA"
MAX_LIFE = timedelta(minutes=10)
SKEW = timedelta(seconds=5)


class _EdDsaOnly(JWSRegistry):
    """One algorithm, whatever a header asks for."""

    def get_alg(self, name: str) -> Any:  # a model that joserfc does not export
        # RFC 9864 renames EdDSA to Ed25519; verifiers in the field know the old name.
        if name != ALGORITHM:
            raise UnsupportedAlgorithmError(f"{name} is not {ALGORITHM}")
        return JWSRegistry.algorithms[ALGORITHM]


_REGISTRY = _EdDsaOnly()


class IssuerAccessTokens:
    """Sign and read access tokens with the key ring."""

    def __init__(self, keys: KeyRing, *, issuer: str, life: timedelta) -> None:
        self.life = min(life, MAX_LIFE)
        self._keys = keys
        self._issuer = issuer

    def mint(self, claims: AccessClaims, *, now: datetime) -> str:
        """Sign a token that lives from `now` on."""
        signer = self._keys.signer(KeyPurpose.ACCESS, now=now)
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": signer.kid}
        payload = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": USER.show(claims.user_id),
            "sid": ids.SESSION.show(claims.session_id),
            "org": ORGANIZATION.show(claims.organization_id),
            "iat": int(now.timestamp()),
            "exp": int((now + self.life).timestamp()),
            "jti": new_id().hex,
        }
        return jwt.encode(header, payload, _private_key(signer.private_key), registry=_REGISTRY)

    def read(self, text: str, *, now: datetime) -> AccessClaims:
        """Verify a token. Raises CredentialInvalid or TokenExpired."""
        published = {key.kid: key.public_key for key in self._keys.published(KeyPurpose.ACCESS, now=now)}

        def find(signature: Any) -> OKPKey:  # a protocol that joserfc does not export
            public_key = published.get(str(signature.headers().get("kid")))
            if public_key is None:
                raise CredentialInvalid
            return _public_key(public_key)

        try:
            token = jwt.decode(text, find, registry=_REGISTRY)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise CredentialInvalid from error
        if token.header.get("typ") != TYPE:
            raise CredentialInvalid
        return self._read_claims(token.claims, now=now)

    def _read_claims(self, claims: dict[str, Any], *, now: datetime) -> AccessClaims:  # JSON of a verified token
        if claims.get("iss") != self._issuer or claims.get("aud") != AUDIENCE:
            raise CredentialInvalid
        try:
            if claims["exp"] <= now.timestamp():
                raise TokenExpired
            if claims["iat"] > (now + SKEW).timestamp():
                raise CredentialInvalid
            return AccessClaims(
                user_id=USER.parse(claims["sub"]),
                session_id=ids.SESSION.parse(claims["sid"]),
                organization_id=ORGANIZATION.parse(claims["org"]),
                expire_time=datetime.fromtimestamp(claims["exp"], UTC),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise CredentialInvalid from error
        except FleetError as error:
            raise error if isinstance(error, TokenExpired) else CredentialInvalid() from error


@lru_cache(maxsize=8)
def _public_key(raw: bytes) -> OKPKey:
    return OKPKey.import_key(Ed25519PublicKey.from_public_bytes(raw))


@lru_cache(maxsize=4)
def _private_key(raw: bytes) -> OKPKey:
    return OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(raw))
