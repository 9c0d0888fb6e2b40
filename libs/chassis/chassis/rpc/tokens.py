"""The two tokens of the fleet: context tokens, which say who calls, and assertions, which say which process asks.

Both are JWTs signed with Ed25519 and nothing else: the algorithm is not negotiable, a header that names another one is
refused. A context token ("typ": "fleet+jwt") is made by auth alone and lives 60 seconds. An assertion ("assertion+jwt",
claims after RFC 7523) is made by a process for auth, lives 30 seconds and is accepted once.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chassis import ids
from chassis.errors import CredentialMissing, FleetError, TokenExpired
from chassis.rpc import jws
from chassis.rpc.caller import Caller, CallerKind
from chassis.rpc.jws import token_type as token_type  # asked together with what else is known of tokens
from chassis.rpc.revocations import Revocations

ISSUER = "definable"
AUTH = "auth"
CONTEXT_TOKEN = "fleet+jwt"
ASSERTION = "assertion+jwt"
CONTEXT_LIFETIME = timedelta(seconds=60)
ASSERTION_LIFETIME = timedelta(seconds=30)
SKEW = timedelta(seconds=5)
"""How far the clocks of two machines may be apart."""

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that context tokens are signed with, and the name by which verifiers find its public half."""

    kid: str
    private_key: Ed25519PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a context token says of its subject; see Caller for the fields."""

    subject: str
    kind: str
    organization_id: UUID | None = None
    principal_id: UUID | None = None
    rank: int = 0
    grants: Sequence[str] = ()
    credential_id: str = ""
    end_user: str | None = None
    service: str | None = None
    requests_per_minute: int = 0
    allowed_addresses: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A fresh token and when it ends."""

    token: str = field(repr=False)
    expire_time: datetime


class ContextTokens:
    """Makes context tokens. Only auth, and the authority of tests, hold a key for it."""

    @staticmethod
    def mint(
        claims: Claims,
        signing_key: SigningKey,
        *,
        now: datetime | None = None,
        lifetime: timedelta = CONTEXT_LIFETIME,
    ) -> MintedToken:
        """Sign the claims. `lifetime` is at most 60 seconds, ValueError otherwise."""
        if lifetime > CONTEXT_LIFETIME:
            raise ValueError("a context token lives at most 60 seconds")
        issued = now or utc_now()
        expires = issued + lifetime
        payload = {key: value for key, value in _claims_on_the_wire(claims).items() if value not in (None, "", 0, [])}
        payload |= {
            "iss": ISSUER,
            "iat": issued.timestamp(),
            "exp": expires.timestamp(),
            "jti": secrets.token_urlsafe(9),
        }
        header = {"alg": jws.ALGORITHM, "typ": CONTEXT_TOKEN, "kid": signing_key.kid}
        return MintedToken(jws.sign(header, payload, signing_key.private_key), expires)


def _claims_on_the_wire(claims: Claims) -> dict[str, object]:
    return {
        "sub": claims.subject,
        "kind": str(claims.kind),
        "org": claims.organization_id and ids.ORGANIZATION.show(claims.organization_id),
        "usr": claims.principal_id and ids.USER.show(claims.principal_id),
        "rank": int(claims.rank),
        "grants": sorted(claims.grants),
        "sid": claims.credential_id,
        "eu": claims.end_user,
        "svc": claims.service,
        "lim": claims.requests_per_minute,
        "ips": list(claims.allowed_addresses),
    }


class FleetKeys(Protocol):
    """The public keys that context tokens are verified with."""

    def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of that name, None when it is not known."""
        ...

    async def refresh(self) -> None:
        """Ask again for the keys: a token names one that is not known. Raises Unavailable when that fails."""
        ...


class StaticFleetKeys:
    """Keys that are all known from the start: auth's own, or a test's."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self.keys = dict(keys)

    def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of that name, None when it is not known."""
        return self.keys.get(kid)

    async def refresh(self) -> None:
        """Do nothing."""


class ContextTokenVerifier:
    """Turns context tokens into callers, and remembers those it has verified.

    What is remembered is checked for its end at each use and forgotten as soon as a revocation names it.
    """

    def __init__(
        self, keys: FleetKeys, *, revocations: Revocations | None = None, clock: Clock = utc_now, capacity: int = 8192
    ) -> None:
        self.revocations = revocations or Revocations(clock=clock)
        self.revocations.subscribe(self._forget)
        self._keys = keys
        self._clock = clock
        self._capacity = capacity
        self._verified: OrderedDict[str, Caller] = OrderedDict()

    async def verify(self, token: str) -> Caller:
        """Return who the token stands for.

        Raises CredentialMissing when it is malformed, not signed by the fleet or revoked, TokenExpired when its time is
        over, Unavailable when its key is unknown and auth cannot be asked.
        """
        caller = self._verified.get(token)
        if caller is None:
            caller = await self._verify(token)
            self._remember(token, caller)
        else:
            self._verified.move_to_end(token)
        if self._clock() >= caller.expire_time + SKEW:
            self._verified.pop(token, None)
            raise TokenExpired()
        return caller

    async def _verify(self, token: str) -> Caller:
        header = jws.header(token, CONTEXT_TOKEN)
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise CredentialMissing()
        key = self._keys.find(kid)
        if key is None:
            await self._keys.refresh()
            key = self._keys.find(kid)
        if key is None:
            raise CredentialMissing()
        caller = _caller(jws.payload(token, key), token)
        self._check_times(caller)
        if self.revocations.cover(caller):
            raise CredentialMissing()
        return caller

    def _check_times(self, caller: Caller) -> None:
        now = self._clock()
        if caller.issue_time > now + SKEW or caller.expire_time - caller.issue_time > CONTEXT_LIFETIME:
            raise CredentialMissing()

    def _remember(self, token: str, caller: Caller) -> None:
        self._verified[token] = caller
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)

    def _forget(self, is_revoked: Callable[[Caller], bool]) -> None:
        for token in [token for token, caller in self._verified.items() if is_revoked(caller)]:
            del self._verified[token]


def _caller(payload: Mapping[str, object], token: str) -> Caller:
    """Return the caller that verified claims describe. Raises CredentialMissing when a claim is malformed."""
    try:
        if payload["iss"] != ISSUER:
            raise CredentialMissing()
        organization, user = payload.get("org"), payload.get("usr")
        return Caller(
            subject=_text(payload["sub"]),
            kind=CallerKind(_text(payload["kind"])).value,
            organization_id=ids.ORGANIZATION.parse(_text(organization)) if organization else None,
            principal_id=ids.USER.parse(_text(user)) if user else None,
            rank=int(_number(payload.get("rank", 0))),
            grants=tuple(_texts(payload.get("grants", []))),
            credential_id=_text(payload.get("sid", "")),
            end_user=_text(payload["eu"]) if payload.get("eu") else None,
            service=_text(payload["svc"]) if payload.get("svc") else None,
            token=token,
            expire_time=_time(payload["exp"]),
            issue_time=_time(payload["iat"]),
            requests_per_minute=int(_number(payload.get("lim", 0))),
            allowed_addresses=tuple(_texts(payload.get("ips", []))),
        )
    except (KeyError, ValueError, OverflowError, OSError, FleetError) as error:
        raise CredentialMissing() from error


@dataclass(frozen=True, slots=True)
class ProcessAssertion:
    """What an assertion said, once verified."""

    process: str
    jti: str
    expire_time: datetime

    @staticmethod
    def make(name: str, private_key: Ed25519PrivateKey, *, now: datetime | None = None) -> str:
        """Return an assertion for auth that the process `name` asks. Use it for one call."""
        issued = now or utc_now()
        payload = {
            "iss": name,
            "sub": name,
            "aud": AUTH,
            "iat": issued.timestamp(),
            "exp": (issued + ASSERTION_LIFETIME).timestamp(),
            "jti": secrets.token_urlsafe(12),
        }
        return jws.sign({"alg": jws.ALGORITHM, "typ": ASSERTION}, payload, private_key)

    @staticmethod
    def verify(
        assertion: str, trusted: Callable[[str], Sequence[Ed25519PublicKey]], *, now: datetime | None = None
    ) -> "ProcessAssertion":
        """Check an assertion against the public keys that `trusted` returns for a process's name.

        Raises CredentialMissing, TokenExpired. That it is used once only is the business of AssertionVerifier.
        """
        jws.header(assertion, ASSERTION)
        name = jws.claimed_subject(assertion)
        payload = next((found for key in trusted(name) if (found := jws.verified_payload(assertion, key))), None)
        if payload is None or payload.get("aud") != AUTH or payload.get("iss") != name:
            raise CredentialMissing()
        try:
            issued, expires, jti = _time(payload["iat"]), _time(payload["exp"]), _text(payload["jti"])
        except (KeyError, ValueError, OverflowError, OSError) as error:
            raise CredentialMissing() from error
        moment = now or utc_now()
        if issued > moment + SKEW or expires - issued > ASSERTION_LIFETIME:
            raise CredentialMissing()
        if moment >= expires + SKEW:
            raise TokenExpired()
        return ProcessAssertion(name, jti, expires)


class AssertionVerifier:
    """Verifies assertions and refuses the second use of one. What it has seen is kept in this process only."""

    def __init__(self, trusted: Callable[[str], Sequence[Ed25519PublicKey]], *, clock: Clock = utc_now) -> None:
        self._trusted = trusted
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def verify(self, assertion: str) -> Caller:
        """Return the process as a caller of kind "service". Raises CredentialMissing, TokenExpired."""
        now = self._clock()
        verified = ProcessAssertion.verify(assertion, self._trusted, now=now)
        self._drop_old(now)
        use = (verified.process, verified.jti)
        if use in self._seen:
            raise CredentialMissing()
        self._seen[use] = verified.expire_time
        return Caller(
            subject=f"service:{verified.process}",
            kind=CallerKind.SERVICE.value,
            service=verified.process,
            expire_time=verified.expire_time,
        )

    def _drop_old(self, now: datetime) -> None:
        # In the order of arrival, which is that of expiry but for a few seconds: one late entry holds the rest a while.
        while self._seen and next(iter(self._seen.values())) + SKEW <= now:
            self._seen.popitem(last=False)


def thumbprint(key: Ed25519PublicKey) -> str:
    """Return a name for a key that follows from the key: the first 16 hexadecimal digits of its SHA-256."""
    return sha256(key.public_bytes_raw()).hexdigest()[:16]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError("not a list")
    return [_text(item) for item in value]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    return value


def _time(value: object) -> datetime:
    return datetime.fromtimestamp(_number(value), UTC)
