"""MembershipService: what auth asks."""

from chassis.data.unit_of_work import Acquire
from chassis.ids import ORGANIZATION, USER
from chassis.rpc.caller import Actor, CallerKind
from chassis.rpc.server import Context
from definable.org.v1.membership_service_pb2 import (
    ListMembershipsOfUserRequest,
    ListMembershipsOfUserResponse,
    ProvisionOrganizationRequest,
    ResolveMembershipRequest,
    ResolveMembershipResponse,
)
from definable.org.v1.membership_service_pb2_grpc import MembershipServiceServicer
from definable.org.v1.organization_service_pb2 import Organization
from org import convert
from org.application import organizations
from org.domain import roles
from org.unit_of_work import OrgUnitOfWork

_MOST_MEMBERSHIPS = 1000


class Memberships(MembershipServiceServicer):
    """Answers who belongs to what, to auth only."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork]) -> None:
        self._acquire = acquire

    async def ProvisionOrganization(self, request: ProvisionOrganizationRequest, context: Context) -> Organization:
        organization_id = ORGANIZATION.parse(request.organization_id, field="organization_id")
        owner_id = USER.parse(request.owner_user_id, field="owner_user_id")
        owner = Actor(USER.show(owner_id), CallerKind.USER.value, owner_id)
        async with self._acquire.as_organization(organization_id, owner) as work:
            row = await organizations.provision(work, owner_id=owner_id, display_name=request.display_name)
            return work.reply(convert.organization(row, caller_role=roles.OWNER))

    async def ResolveMembership(self, request: ResolveMembershipRequest, context: Context) -> ResolveMembershipResponse:
        organization_id = ORGANIZATION.parse(request.organization_id, field="organization_id")
        user_id = USER.parse(request.user_id, field="user_id")
        async with self._acquire.as_organization(organization_id, Actor.service("auth")) as work:
            return convert.resolved(await work.members.get(user_id))

    async def ListMembershipsOfUser(
        self, request: ListMembershipsOfUserRequest, context: Context
    ) -> ListMembershipsOfUserResponse:
        async with self._acquire.as_user(USER.parse(request.user_id, field="user_id")) as work:
            rows = await work.memberships.get_across_organizations(limit=_MOST_MEMBERSHIPS)
        return ListMembershipsOfUserResponse(memberships=[convert.membership(row) for row in rows])
