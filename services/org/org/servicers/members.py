"""MemberService."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.data.unit_of_work import Acquire
from chassis.ids import USER
from chassis.rpc.caller import current_caller
from chassis.rpc.masks import masked
from chassis.rpc.server import Context
from definable.org.v1.member_service_pb2 import (
    CreateMemberRequest,
    DeleteMemberRequest,
    GetMemberRequest,
    ListMembersRequest,
    ListMembersResponse,
    Member,
    UpdateMemberRequest,
)
from definable.org.v1.member_service_pb2_grpc import MemberServiceServicer
from org import convert
from org.application import members
from org.application.members import AddMember
from org.domain.errors import OrganizationNotFound
from org.domain.ports import Profile, UserDirectory
from org.unit_of_work import OrgUnitOfWork


class Members(MemberServiceServicer):
    """Answers about members; names come from the directory of users, outside of every transaction."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork], directory: UserDirectory) -> None:
        self._acquire = acquire
        self._directory = directory
        self._find_account = AddMember(acquire, directory)

    async def CreateMember(self, request: CreateMemberRequest, context: Context) -> Member:
        caller = current_caller()
        profile = await self._find_account.find(
            caller=caller, email=request.email, role=request.role, display_name=request.display_name
        )
        async with self._acquire() as work:
            row = await members.add(work, caller=caller, user_id=profile.user_id, role=request.role)
            return work.reply(convert.member(row, profile))

    async def ListMembers(self, request: ListMembersRequest, context: Context) -> ListMembersResponse:
        async with self._acquire() as work:
            page = await work.members.oldest_first(
                role=request.role, page_size=request.page_size, page_token=request.page_token
            )
        profiles = await self._profiles([row.id for row in page.items])
        shown = [convert.member(row, profiles.get(row.id)) for row in page.items]
        return ListMembersResponse(members=shown, next_page_token=page.next_page_token)

    async def GetMember(self, request: GetMemberRequest, context: Context) -> Member:
        user_id = USER.parse(request.user_id, field="user_id")
        async with self._acquire() as work:
            row = await members.get(work, user_id=user_id)
        profiles = await self._profiles([user_id])
        return convert.member(row, profiles.get(user_id))

    async def UpdateMember(self, request: UpdateMemberRequest, context: Context) -> Member:
        user_id = USER.parse(request.member.user_id, field="member.user_id")
        changes = masked(request.member, request.update_mask, allowed=("role",))
        async with self._acquire() as work:
            await members.get(work, user_id=user_id)  # nobody learns names of users who are no members
        profiles = await self._profiles([user_id])
        async with self._acquire() as work:
            row = await members.change_role(
                work, caller=current_caller(), user_id=user_id, role=changes.get("role", request.member.role)
            )
            return work.reply(convert.member(row, profiles.get(user_id)))

    async def DeleteMember(self, request: DeleteMemberRequest, context: Context) -> Empty:
        user_id = USER.parse(request.user_id, field="user_id")
        async with self._acquire() as work:
            await members.remove(work, caller=current_caller(), user_id=user_id)
            return work.reply(Empty())

    async def _profiles(self, user_ids: Sequence[UUID]) -> Mapping[UUID, Profile]:
        organization_id = current_caller().organization_id
        if organization_id is None:
            raise OrganizationNotFound()
        return await self._directory.profiles(organization_id=organization_id, user_ids=user_ids)
