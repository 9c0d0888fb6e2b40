"""What the processes of the fleet ask of auth."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from auth import convert
from auth.application.authentication import Authenticate, MintServiceContext
from auth.application.issuer import KeyRing
from auth.application.revocations import RevocationFeed
from auth.domain.issuer import KeyPurpose
from auth.servicers.callers import asserted_process
from chassis.ids import ORGANIZATION
from chassis.rpc.server import Context
from chassis.rpc.times import timestamp
from definable.auth.v1.authentication_service_pb2 import (
    AuthenticateRequest,
    AuthenticateResponse,
    FleetKey,
    ListFleetKeysRequest,
    ListFleetKeysResponse,
    MintServiceContextRequest,
    MintServiceContextResponse,
    Revocation,
    WatchRevocationsRequest,
)
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceServicer

UNRETIRED_KEY_LIFE = timedelta(hours=24)


class Authentication(AuthenticationServiceServicer):
    """AuthenticationService over the use cases."""

    def __init__(
        self, *, authenticate: Authenticate, mint: MintServiceContext, keys: KeyRing, revocations: RevocationFeed
    ) -> None:
        self._authenticate = authenticate
        self._mint = mint
        self._keys = keys
        self._revocations = revocations

    async def Authenticate(self, request: AuthenticateRequest, context: Context) -> AuthenticateResponse:
        token = await self._authenticate(credential=request.credential, client_address=request.client_address)
        return AuthenticateResponse(context_token=token.text, expire_time=timestamp(token.expire_time))

    async def MintServiceContext(
        self, request: MintServiceContextRequest, context: Context
    ) -> MintServiceContextResponse:
        process = asserted_process()
        token = await self._mint(
            process=process,
            organization_id=(
                ORGANIZATION.parse(request.organization_id, field="organization_id")
                if request.organization_id
                else None
            ),
            actor_subject=request.actor_subject,
            end_user=request.end_user,
        )
        return MintServiceContextResponse(context_token=token.text, expire_time=timestamp(token.expire_time))

    async def ListFleetKeys(self, request: ListFleetKeysRequest, context: Context) -> ListFleetKeysResponse:
        now = datetime.now(UTC)
        return ListFleetKeysResponse(
            keys=[
                FleetKey(
                    kid=key.kid,
                    public_key=key.public_key,
                    not_after=timestamp(key.times.retire_time or now + UNRETIRED_KEY_LIFE),
                )
                for key in self._keys.published(KeyPurpose.CONTEXT, now=now)
            ]
        )

    async def WatchRevocations(self, request: WatchRevocationsRequest, context: Context) -> AsyncIterator[Revocation]:
        async for news in self._revocations.watch(request.after_sequence):
            if isinstance(news, int):
                yield Revocation(sequence=news, time=timestamp(datetime.now(UTC)), heartbeat=True)
            else:
                yield convert.revocation(news)
