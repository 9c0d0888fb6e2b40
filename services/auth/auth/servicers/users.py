"""The caller's own profile, and the directory for the rest of the fleet."""

from collections.abc import Mapping

from auth import convert
from auth.application import users
from auth.domain.membership import Memberships
from auth.servicers.callers import principal, session_caller
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.ids import ORGANIZATION, USER
from chassis.rpc.masks import masked
from chassis.rpc.server import Context
from definable.auth.v1.user_directory_service_pb2 import EnsureUserRequest, GetUsersRequest, GetUsersResponse
from definable.auth.v1.user_directory_service_pb2_grpc import UserDirectoryServiceServicer
from definable.auth.v1.user_service_pb2 import GetMeRequest, Me, UpdateMeRequest, User
from definable.auth.v1.user_service_pb2_grpc import UserServiceServicer


class Users(UserServiceServicer):
    """UserService over the use cases."""

    def __init__(
        self, acquire: Acquire[AuthUnitOfWork], memberships: Memberships, catalogue: Mapping[str, int]
    ) -> None:
        self._acquire = acquire
        self._memberships = memberships
        self._catalogue = catalogue

    async def GetMe(self, request: GetMeRequest, context: Context) -> Me:
        caller, user_id = principal()
        async with self._acquire.as_user(user_id) as work:
            user = convert.user(await users.own(work))
        organizations = await self._memberships.list_of_user(user_id)
        return Me(
            user=user,
            organization_id=ORGANIZATION.show(caller.organization_id) if caller.organization_id else "",
            organizations=convert.memberships(organizations),
            permissions=sorted(name for name, rank in self._catalogue.items() if caller.may(name, rank)),
            credential_kind=str(caller.kind),
        )

    async def UpdateMe(self, request: UpdateMeRequest, context: Context) -> User:
        changes = masked(request.user, request.update_mask, allowed=users.UPDATABLE)
        user_id, _, _ = session_caller()
        async with self._acquire.as_user(user_id) as work:
            return work.reply(convert.user(await users.update(work, changes)))


class UserDirectory(UserDirectoryServiceServicer):
    """UserDirectoryService over the use cases."""

    def __init__(self, acquire: Acquire[AuthUnitOfWork]) -> None:
        self._acquire = acquire
        self._ensure_user = users.EnsureUser(acquire)

    async def EnsureUser(self, request: EnsureUserRequest, context: Context) -> User:
        return convert.user(await self._ensure_user(email=request.email, display_name=request.display_name))

    async def GetUsers(self, request: GetUsersRequest, context: Context) -> GetUsersResponse:
        wanted = [USER.parse(text, field="ids") for text in request.ids]
        async with self._acquire.anonymous() as work:
            profiles = await users.name_all(work, wanted)
        return GetUsersResponse(users=[convert.profile(one) for one in profiles])
