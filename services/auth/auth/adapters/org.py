"""org, asked over gRPC."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from auth.domain.membership import MembershipAnswer, OwnMembership
from auth.domain.scopes import Rights
from chassis.errors import Code, DependencyUnavailable, FleetError
from chassis.ids import ORGANIZATION, USER
from chassis.rpc.client import Peers, as_service
from definable.org.v1.membership_service_pb2 import (
    ListMembershipsOfUserRequest,
    ProvisionOrganizationRequest,
    ResolveMembershipRequest,
)
from definable.org.v1.membership_service_pb2_grpc import MembershipServiceStub


class OrgMemberships:
    """The directory of memberships over org's MembershipService. auth asks as itself, whoever its caller is."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def provision_organization(self, *, organization_id: UUID, owner_id: UUID, display_name: str) -> None:
        """Create the organization with its owner. Safe to repeat."""
        async with _asking(organization_id):
            await self._stub().ProvisionOrganization(
                ProvisionOrganizationRequest(
                    organization_id=ORGANIZATION.show(organization_id),
                    owner_user_id=USER.show(owner_id),
                    display_name=display_name,
                )
            )

    async def resolve(self, *, organization_id: UUID, user_id: UUID) -> MembershipAnswer | None:
        """Look up a user's rights; None when the user is no member."""
        async with _asking(organization_id):
            answer = await self._stub().ResolveMembership(
                ResolveMembershipRequest(organization_id=ORGANIZATION.show(organization_id), user_id=USER.show(user_id))
            )
        if not answer.is_member:
            return None
        rights = Rights(rank=answer.rank, grants=tuple(answer.grants))
        return MembershipAnswer(rights=rights, revision=answer.revision)

    async def list_of_user(self, user_id: UUID) -> Sequence[OwnMembership]:
        """List the organizations that the user belongs to."""
        async with _asking(None):
            answer = await self._stub().ListMembershipsOfUser(ListMembershipsOfUserRequest(user_id=USER.show(user_id)))
        return [
            OwnMembership(
                organization_id=ORGANIZATION.parse(one.organization_id),
                display_name=one.display_name,
                role=one.role,
                rank=one.rank,
            )
            for one in answer.memberships
        ]

    def _stub(self) -> MembershipServiceStub:
        return self._peers.stub(MembershipServiceStub, "org")


@asynccontextmanager
async def _asking(organization_id: UUID | None) -> AsyncIterator[None]:
    """Ask as auth itself; say that org is down, whether it can't be reached, is too slow, or says so itself."""
    try:
        async with as_service(organization_id):
            yield
    except FleetError as error:
        if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
            raise DependencyUnavailable(dependency="org") from error
        raise
