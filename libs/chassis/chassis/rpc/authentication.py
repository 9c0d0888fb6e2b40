"""From the bearer token of a call to its caller."""

from typing import Protocol

from chassis.rpc.caller import Caller
from chassis.rpc.tokens import ASSERTION, AssertionVerifier, ContextTokenVerifier, token_type


class Authenticator(Protocol):
    """Says who a token stands for."""

    async def __call__(self, token: str) -> Caller:
        """Return the caller. Raises an Unauthenticated, or Unavailable when that can't be found out now."""
        ...


class FleetAuthenticator:
    """Takes context tokens and, where `assertions` is given (in auth), assertions of processes."""

    def __init__(self, verifier: ContextTokenVerifier, assertions: AssertionVerifier | None = None) -> None:
        self.verifier = verifier
        self._assertions = assertions

    async def __call__(self, token: str) -> Caller:
        """Return who the token stands for. Raises CredentialMissing, TokenExpired, Unavailable."""
        if self._assertions is not None and token_type(token) == ASSERTION:
            return self._assertions.verify(token)
        return await self.verifier.verify(token)
