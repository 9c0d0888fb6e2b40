"""Signing up, logging in and out."""

from google.protobuf.empty_pb2 import Empty

from auth import convert
from auth.application import sessions
from auth.application.accounts import LogIn, RefreshSession, SignUp, SwitchOrganization
from auth.servicers.callers import session_caller
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.ids import ORGANIZATION
from chassis.rpc.caller import current_call
from chassis.rpc.server import Context
from definable.auth.v1.account_service_pb2 import (
    LogInRequest,
    LogInResponse,
    LogOutEverywhereRequest,
    LogOutEverywhereResponse,
    LogOutRequest,
    RefreshSessionRequest,
    RefreshSessionResponse,
    SignUpRequest,
    SignUpResponse,
    SwitchOrganizationRequest,
    SwitchOrganizationResponse,
)
from definable.auth.v1.account_service_pb2_grpc import AccountServiceServicer


class Accounts(AccountServiceServicer):
    """AccountService over the use cases."""

    def __init__(
        self,
        acquire: Acquire[AuthUnitOfWork],
        *,
        sign_up: SignUp,
        log_in: LogIn,
        refresh: RefreshSession,
        switch: SwitchOrganization,
    ) -> None:
        self._acquire = acquire
        self._sign_up = sign_up
        self._log_in = log_in
        self._refresh = refresh
        self._switch = switch

    async def SignUp(self, request: SignUpRequest, context: Context) -> SignUpResponse:
        user, organization_id = await self._sign_up(
            email=request.email,
            password=request.password,
            display_name=request.display_name,
            organization_name=request.organization_name,
            client_address=current_call().client_address,
        )
        return SignUpResponse(user=convert.user(user), organization_id=ORGANIZATION.show(organization_id))

    async def LogIn(self, request: LogInRequest, context: Context) -> LogInResponse:
        user, pair = await self._log_in(
            email=request.email, password=request.password, client_address=current_call().client_address
        )
        reply = convert.token_pair(LogInResponse, pair)
        reply.user.CopyFrom(convert.user(user))
        return reply

    async def RefreshSession(self, request: RefreshSessionRequest, context: Context) -> RefreshSessionResponse:
        return convert.token_pair(RefreshSessionResponse, await self._refresh(request.refresh_token))

    async def LogOut(self, request: LogOutRequest, context: Context) -> Empty:
        user_id, organization_id, session_id = session_caller()
        async with self._acquire.as_user(user_id) as work:
            await sessions.end(work, session_id, organization_id=organization_id)
            return work.reply(Empty())

    async def LogOutEverywhere(self, request: LogOutEverywhereRequest, context: Context) -> LogOutEverywhereResponse:
        user_id, organization_id, _ = session_caller()
        async with self._acquire.as_user(user_id) as work:
            ended = await sessions.end_all(work, organization_id=organization_id)
            return work.reply(LogOutEverywhereResponse(ended_session_count=ended))

    async def SwitchOrganization(
        self, request: SwitchOrganizationRequest, context: Context
    ) -> SwitchOrganizationResponse:
        user_id, organization_id, session_id = session_caller()
        pair = await self._switch(
            user_id=user_id,
            session_id=session_id,
            from_id=organization_id,
            to_id=ORGANIZATION.parse(request.organization_id, field="organization_id"),
        )
        return convert.token_pair(SwitchOrganizationResponse, pair)
