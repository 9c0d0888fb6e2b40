"""An auth for tests: a real gRPC server with the AuthenticationService, whose keys and callers are the tests'."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chassis import ids
from chassis.crypto import load_public_key
from chassis.errors import CredentialMissing, PermissionDenied
from chassis.rpc.authentication import FleetAuthenticator
from chassis.rpc.caller import Actor, Caller, CallerKind, current_caller
from chassis.rpc.server import Context, FleetServer, build_server
from chassis.rpc.times import timestamp
from chassis.rpc.tokens import (
    AssertionVerifier,
    Claims,
    ContextTokens,
    ContextTokenVerifier,
    ProcessAssertion,
    SigningKey,
    StaticFleetKeys,
    thumbprint,
)
from definable.auth.v1 import authentication_service_pb2 as pb
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceServicer
from definable.options.v1.options_pb2 import Rank

RENEW_BEFORE = timedelta(seconds=20)
HEARTBEAT_SECONDS = 10.0
SESSION = ids.IdKind("sess")


class ActorRightsLost(PermissionDenied):
    """The actor may no longer act in this organization."""

    reason = "ACTOR_RIGHTS_LOST"


class Authority:
    """Makes callers for tests, and answers the services' questions about them.

    Any actor may be acted for, as an owner, unless the authority made it: then with the rights it was made with, and
    not at all once it was revoked.
    """

    def __init__(self, folder: Path) -> None:
        self.trust_folder = folder / "trusted"
        """`<name>.pub` of each process that the authority knows: what AUTH_TRUST__FOLDER takes."""
        self._key_folder = folder / "keys"
        private_key = Ed25519PrivateKey.generate()
        self._signing_key = SigningKey(thumbprint(private_key.public_key()), private_key)
        self._made: dict[str, Caller] = {}
        self._as_they_are: set[str] = set()
        self._credentials: dict[str, Caller] = {}
        self._revocations: list[pb.Revocation] = []
        self._revoked = asyncio.Condition()
        self._server: FleetServer | None = None
        self.address = ""

    async def start(self, *servicers: object) -> str:
        """Serve, with stand-ins for auth's other services if given, and return host:port."""
        for folder in (self.trust_folder, self._key_folder):
            folder.mkdir(parents=True, exist_ok=True)
        verifier = ContextTokenVerifier(StaticFleetKeys({self._signing_key.kid: self.public_key}))
        self._server = build_server(
            name="auth",
            servicers=[_Authentication(self), *servicers],
            authenticate=FleetAuthenticator(verifier, AssertionVerifier(self._trusted)),
        )
        self.address = f"127.0.0.1:{await self._server.start()}"
        await self._server.set_serving(True)
        return self.address

    async def stop(self) -> None:
        """Stop serving."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    @property
    def kid(self) -> str:
        """Name of the key that signs context tokens."""
        return self._signing_key.kid

    @property
    def public_key(self) -> Ed25519PublicKey:
        """The key that context tokens are verified with."""
        return self._signing_key.private_key.public_key()

    # -- callers -----------------------------------------------------------------------------------------------------

    def caller(
        self,
        rank: Rank.ValueType = Rank.OWNER,
        organization_id: UUID | None = None,
        grants: Sequence[str] = ("*",),
        kind: str = "user",
        *,
        principal_id: UUID | None = None,
        end_user: str | None = None,
        expired: bool = False,
    ) -> Caller:
        """Make a person or an API key, of a new organization unless named, and return it with a token.

        Where it is used through `InProcessService.stub` its token is renewed as it ages, unless made `expired`.
        """
        principal = principal_id or ids.new_id()
        is_key = kind == CallerKind.API_KEY
        subject = ids.API_KEY.show(ids.new_id()) if is_key else ids.USER.show(principal)
        claims = Claims(
            subject=subject,
            kind=kind,
            organization_id=organization_id or ids.new_id(),
            principal_id=principal,
            rank=rank,
            grants=tuple(grants),
            credential_id=subject if is_key else SESSION.show(ids.new_id()),
            end_user=end_user,
        )
        caller = self._mint(claims, now=datetime.now(UTC) - timedelta(minutes=5) if expired else None)
        if expired:
            self._as_they_are.add(caller.token)
        self._made[caller.credential_id] = caller
        return caller

    def colleague(self, caller: Caller, rank: Rank.ValueType = Rank.MEMBER, grants: Sequence[str] = ("*",)) -> Caller:
        """Make another person of the same organization."""
        return self.caller(rank, caller.organization_id, grants)

    def service(self, name: str, organization_id: UUID | None = None, actor: Actor | None = None) -> Caller:
        """Return a process of the fleet, acting as itself or, with `actor`, for somebody in an organization."""
        return self._mint(self._claims_for(name, organization_id, actor.subject if actor else "", None))

    def credential(self, caller: Caller) -> str:
        """Return a credential (what a client would send to the gateway) that `Authenticate` takes for the caller."""
        credential = f"test_{secrets.token_urlsafe(16)}"
        self._credentials[credential] = caller
        return credential

    def token(self, caller: Caller) -> str:
        """Return a token that is good for a while: the caller's own, or a fresh one when that ages."""
        is_ours = self._made.get(caller.credential_id) is not None and caller.token not in self._as_they_are
        if not is_ours or caller.expire_time - datetime.now(UTC) > RENEW_BEFORE:
            return caller.token
        renewed = self._made[caller.credential_id]
        if renewed.expire_time - datetime.now(UTC) <= RENEW_BEFORE:
            renewed = self._made[caller.credential_id] = self._mint(_claims_of(caller))
        return renewed.token

    async def revoke(
        self,
        caller: Caller | None = None,
        *,
        session_id: str = "",
        key_id: str = "",
        user_id: str = "",
        organization_id: str = "",
    ) -> None:
        """Revoke a caller's credential, or whatever the ids name, as auth would announce it."""
        if caller is not None:
            self._as_they_are.update({caller.token, self._made.get(caller.credential_id, caller).token})
            is_key = caller.kind == CallerKind.API_KEY
            session_id = "" if is_key else caller.credential_id
            key_id = caller.subject if is_key else ""
            self._made.pop(caller.credential_id, None)
            self._credentials = {text: made for text, made in self._credentials.items() if made != caller}
        revocation = pb.Revocation(
            sequence=len(self._revocations) + 1,
            session_id=session_id,
            key_id=key_id,
            user_id=user_id,
            organization_id=organization_id,
        )
        revocation.time.FromDatetime(datetime.now(UTC))
        async with self._revoked:
            self._revocations.append(revocation)
            self._revoked.notify_all()

    # -- processes ---------------------------------------------------------------------------------------------------

    def key_file(self, name: str) -> Path:
        """Return the private key file of a process, made and trusted when first asked for."""
        file = self._key_folder / f"{name}.key"
        if not file.exists():
            key = Ed25519PrivateKey.generate()
            file.write_text(base64.b64encode(key.private_bytes_raw()).decode())
            public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
            (self.trust_folder / f"{name}.pub").write_text(public)
        return file

    def assertion(self, name: str) -> str:
        """Return a fresh assertion of a process."""
        raw = base64.b64decode(self.key_file(name).read_text())
        return ProcessAssertion.make(name, Ed25519PrivateKey.from_private_bytes(raw))

    def _trusted(self, name: str) -> Sequence[Ed25519PublicKey]:
        file = self.trust_folder / f"{name}.pub"
        return [load_public_key(file)] if file.exists() else []

    # -- what the service asks ---------------------------------------------------------------------------------------

    def authenticate(self, credential: str) -> Caller:
        """Return the caller behind a credential, with a fresh token. Raises CredentialMissing."""
        caller = self._credentials.get(credential)
        if caller is None:
            raise CredentialMissing
        return self._mint(_claims_of(caller))

    def act(self, process: str, organization_id: UUID | None, subject: str, end_user: str | None) -> Caller:
        """Return a process as acting for somebody. Raises ActorRightsLost."""
        return self._mint(self._claims_for(process, organization_id, subject, end_user))

    async def revocations(self, after: int) -> AsyncIterator[pb.Revocation]:
        """Yield revocations as they come, and heartbeats while none do."""
        yield pb.Revocation(heartbeat=True)
        while True:
            for revocation in await self._revocations_after(after) or [pb.Revocation(heartbeat=True)]:
                yield revocation
                after = max(after, revocation.sequence)

    async def _revocations_after(self, sequence: int) -> Sequence[pb.Revocation]:
        async with self._revoked:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._revoked.wait_for(lambda: len(self._revocations) > sequence)
            except TimeoutError:
                return ()
            return self._revocations[sequence:]

    def _claims_for(self, process: str, organization_id: UUID | None, subject: str, end_user: str | None) -> Claims:
        if not subject:
            return Claims(
                f"service:{process}", "service", organization_id, rank=Rank.OWNER, grants=["*"], service=process
            )
        made = [caller for caller in self._made.values() if caller.subject == subject]
        here = [caller for caller in made if caller.organization_id == organization_id]
        if made and not here:
            raise ActorRightsLost
        if here:
            return replace(_claims_of(here[0]), service=process, end_user=end_user or here[0].end_user)
        prefix, value = ids.parse_any(subject, field="actor_subject")
        return Claims(
            subject=subject,
            kind="api_key" if prefix == ids.API_KEY.prefix else "user",
            organization_id=organization_id,
            principal_id=value,
            rank=Rank.OWNER,
            grants=["*"],
            service=process,
            end_user=end_user,
        )

    def _mint(self, claims: Claims, *, now: datetime | None = None) -> Caller:
        issued = now or datetime.now(UTC)
        minted = ContextTokens.mint(claims, self._signing_key, now=issued)
        return Caller(
            subject=claims.subject,
            kind=claims.kind,
            organization_id=claims.organization_id,
            principal_id=claims.principal_id,
            rank=claims.rank,
            grants=tuple(claims.grants),
            credential_id=claims.credential_id,
            end_user=claims.end_user,
            service=claims.service,
            token=minted.token,
            expire_time=minted.expire_time,
            issue_time=issued,
        )


def _claims_of(caller: Caller) -> Claims:
    return Claims(
        subject=caller.subject,
        kind=caller.kind,
        organization_id=caller.organization_id,
        principal_id=caller.principal_id,
        rank=caller.rank,
        grants=caller.grants,
        credential_id=caller.credential_id,
        end_user=caller.end_user,
        service=caller.service,
    )


class _Authentication(AuthenticationServiceServicer):
    """The service that the authority answers with."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def Authenticate(self, request: pb.AuthenticateRequest, context: Context) -> pb.AuthenticateResponse:
        caller = self._authority.authenticate(request.credential)
        return pb.AuthenticateResponse(context_token=caller.token, expire_time=timestamp(caller.expire_time))

    async def MintServiceContext(
        self, request: pb.MintServiceContextRequest, context: Context
    ) -> pb.MintServiceContextResponse:
        organization = request.organization_id
        organization_id = ids.ORGANIZATION.parse(organization, field="organization_id") if organization else None
        process = current_caller().service or ""
        caller = self._authority.act(process, organization_id, request.actor_subject, request.end_user or None)
        return pb.MintServiceContextResponse(context_token=caller.token, expire_time=timestamp(caller.expire_time))

    async def ListFleetKeys(self, request: pb.ListFleetKeysRequest, context: Context) -> pb.ListFleetKeysResponse:
        key = pb.FleetKey(kid=self._authority.kid, public_key=self._authority.public_key.public_bytes_raw())
        key.not_after.FromDatetime(datetime.now(UTC) + timedelta(days=1))
        return pb.ListFleetKeysResponse(keys=[key])

    async def WatchRevocations(
        self, request: pb.WatchRevocationsRequest, context: Context
    ) -> AsyncIterator[pb.Revocation]:
        async for revocation in self._authority.revocations(request.after_sequence):
            yield revocation
