"""Credentials → callers. auth decides, the gateway remembers its answer for as long as the token lives."""

import asyncio
import base64
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Final

import orjson

from chassis import ids
from chassis.errors import CredentialMissing, FleetError, Unauthenticated
from chassis.rpc.caller import Caller
from chassis.rpc.client import Peers
from chassis.rpc.revocations import Revocations
from chassis.rpc.trust import RevocationWatch
from definable.auth.v1.authentication_service_pb2 import AuthenticateRequest
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceStub
from gateway.errors import AddressNotAllowed

RENEW_SECONDS: Final = 20.0  # a token with less left is renewed while it is still used
MINIMUM_SECONDS: Final = 10.0  # a token with less left is not used: the call it travels with takes up to ten seconds
_LONGEST_CREDENTIAL: Final = 4096
_EXCHANGE_SECONDS: Final = 5.0


class Authenticator:
    """Exchanges credentials for context tokens and remembers them by the credential's hash."""

    def __init__(self, peers: Peers, *, clock: Callable[[], float] = time.time, capacity: int = 50_000) -> None:
        self._auth = peers.stub(AuthenticationServiceStub, "auth")
        self._clock = clock
        self._capacity = capacity
        self._known: OrderedDict[bytes, Caller] = OrderedDict()
        self._exchanges: dict[bytes, asyncio.Task[Caller]] = {}
        self._revocations = Revocations(clock=lambda: datetime.fromtimestamp(clock(), UTC))
        self._revocations.subscribe(self._drop)
        self.watch = RevocationWatch(peers, self._revocations.apply)
        """To be run beside: it drops what a revocation names."""

    async def authenticate(self, credential: str, client_address: str) -> Caller:
        """Return who holds the credential.

        Raises CredentialMissing, AddressNotAllowed, DependencyUnavailable, and what auth answers as RemoteError.
        """
        if not credential or len(credential) > _LONGEST_CREDENTIAL or not credential.isascii():
            raise CredentialMissing()
        key = sha256(credential.encode()).digest()
        caller = self._known.get(key)
        left = caller.expire_time.timestamp() - self._clock() if caller else 0.0
        if caller is None or left < MINIMUM_SECONDS:
            # Shielded: others wait for the same answer, and one of them leaving must not take it from the rest.
            caller = await asyncio.shield(self._exchange(key, credential, client_address))
        elif left < RENEW_SECONDS:
            self._exchange(key, credential, client_address)
        _check_address(caller, client_address)
        return caller

    def _exchange(self, key: bytes, credential: str, client_address: str) -> asyncio.Task[Caller]:
        """Ask auth, once at a time for each credential."""
        task = self._exchanges.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, credential, client_address))
            self._exchanges[key] = task
            task.add_done_callback(lambda done: self._finish(key, done))
        return task

    def _finish(self, key: bytes, task: "asyncio.Task[Caller]") -> None:
        del self._exchanges[key]
        if not task.cancelled():
            task.exception()  # Looked at, since nobody waits for a renewal; the next request asks again.

    async def _ask(self, key: bytes, credential: str, client_address: str) -> Caller:
        request = AuthenticateRequest(credential=credential, client_address=client_address)
        try:
            reply = await self._auth.Authenticate(request, timeout=_EXCHANGE_SECONDS)
        except FleetError as error:
            if error.code == Unauthenticated.code:
                self._known.pop(key, None)
            raise
        caller = caller_of(reply.context_token)
        if self._revocations.cover(caller):
            raise CredentialMissing()
        self._known[key] = caller
        self._known.move_to_end(key)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return caller

    def _drop(self, is_revoked: Callable[[Caller], bool]) -> None:
        for key in [key for key, caller in self._known.items() if is_revoked(caller)]:
            del self._known[key]

    async def close(self) -> None:
        """Give up the exchanges that are under way."""
        tasks = list(self._exchanges.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def caller_of(token: str) -> Caller:
    """Read the claims of a context token. It comes from auth itself, so its signature is the services' business."""
    part = token.split(".")[1]
    claims = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    organization, user = claims.get("org"), claims.get("usr")
    return Caller(
        subject=claims["sub"],
        kind=claims["kind"],
        organization_id=ids.ORGANIZATION.parse(organization) if organization else None,
        principal_id=ids.USER.parse(user) if user else None,
        credential_id=claims.get("sid", ""),
        token=token,
        expire_time=datetime.fromtimestamp(claims["exp"], UTC),
        issue_time=datetime.fromtimestamp(claims["iat"], UTC),
        requests_per_minute=claims.get("lim", 0),
        allowed_addresses=tuple(claims.get("ips", ())),
    )


def _check_address(caller: Caller, client_address: str) -> None:
    if not caller.allowed_addresses:
        return
    try:
        address = ip_address(client_address)
    except ValueError as error:
        raise AddressNotAllowed() from error
    if not any(address in ip_network(network, strict=False) for network in caller.allowed_addresses):
        raise AddressNotAllowed()
