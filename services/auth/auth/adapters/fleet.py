"""auth as a member of the fleet: what others ask it for, it finds at home."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth import convert
from auth.application.authentication import service_claims
from auth.application.issuer import wait
from auth.application.revocations import LISTEN_AGAIN_AFTER, RevocationFeed
from auth.domain.errors import DelegationNotAllowed
from auth.domain.tokens import ContextTokens
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import CredentialMissing, DependencyUnavailable
from chassis.rpc.acting import Acting
from chassis.rpc.authentication import FleetAuthenticator
from chassis.rpc.caller import Caller, CallerKind
from chassis.rpc.revocations import Revocations
from chassis.rpc.tokens import ASSERTION, ContextTokenVerifier, ProcessAssertion, token_type

_log = structlog.get_logger(__name__)


class OwnTokens:
    """Tokens that auth acts with: minted on the spot, for itself only."""

    def __init__(self, context_tokens: ContextTokens) -> None:
        self._context_tokens = context_tokens

    async def token(self, wanted: Acting) -> str:
        """Return a token. Raises DelegationNotAllowed for an actor: auth acts for nobody."""
        if wanted.subject:
            raise DelegationNotAllowed(process="auth")
        return self._context_tokens.mint(service_claims("auth", wanted.organization_id), now=datetime.now(UTC)).text

    def forget(self, wanted: Acting) -> None:
        """Do nothing: no token is kept."""


class AuthAuthenticator(FleetAuthenticator):
    """Knows callers by context token, and processes by assertion, each of which is accepted once by all replicas."""

    def __init__(
        self,
        verifier: ContextTokenVerifier,
        acquire: Acquire[AuthUnitOfWork],
        trusted: Callable[[str], Sequence[Ed25519PublicKey]],
    ) -> None:
        super().__init__(verifier)
        self._acquire = acquire
        self._trusted = trusted

    async def __call__(self, token: str) -> Caller:
        """Return who the token stands for. Raises CredentialMissing, TokenExpired, DependencyUnavailable."""
        if token_type(token) != ASSERTION:
            return await self.verifier.verify(token)
        verified = ProcessAssertion.verify(token, self._trusted)
        async with self._acquire.anonymous() as work:
            is_fresh = await work.used_assertions.use(jti=verified.jti, expire_time=verified.expire_time)
        if not is_fresh:
            raise CredentialMissing
        return Caller(
            subject=f"service:{verified.process}",
            kind=CallerKind.SERVICE.value,
            service=verified.process,
            expire_time=verified.expire_time,
        )


class OwnRevocations:
    """Applies revocations to the callers of this replica, as every other process does over the stream."""

    def __init__(self, feed: RevocationFeed, revocations: Revocations) -> None:
        self._feed = feed
        self._revocations = revocations

    async def run(self, stop: asyncio.Event) -> None:
        """Apply until told to stop."""
        following = asyncio.create_task(self._follow())
        try:
            await stop.wait()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        position, never = 0, asyncio.Event()
        while True:
            try:
                async for news in self._feed.watch(position):
                    if isinstance(news, int):
                        position = news
                        continue
                    position = news.sequence
                    self._revocations.apply(convert.revocation(news))
            except DependencyUnavailable:
                _log.warning("own_revocations_not_read")
                await wait(never, LISTEN_AGAIN_AFTER)
