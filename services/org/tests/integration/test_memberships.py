"""MembershipService: what auth asks, and what a crash of either side leaves."""

import asyncio
from uuid import UUID

import pytest

from chassis.ids import ORGANIZATION, USER, new_id
from chassis.testing import refused
from definable.options.v1.options_pb2 import Rank
from definable.org.v1.events_pb2 import OrganizationCreated
from definable.org.v1.member_service_pb2 import DeleteMemberRequest, Member, UpdateMemberRequest
from definable.org.v1.membership_service_pb2 import (
    ListMembershipsOfUserRequest,
    ProvisionOrganizationRequest,
    ResolveMembershipRequest,
    ResolveMembershipResponse,
)
from definable.org.v1.organization_service_pb2 import (
    GetOrganizationRequest,
    Organization,
    UpdateOrganizationRequest,
)

from .running import Org, a_name, found  # noqa: TID252


def a_provision() -> ProvisionOrganizationRequest:
    return ProvisionOrganizationRequest(
        organization_id=ORGANIZATION.show(new_id()), owner_user_id=USER.show(new_id()), display_name=a_name("Acme")
    )


class TestProvisionOrganization:
    async def test_founds_it_with_its_owner(self, org: Org) -> None:
        request = a_provision()

        made = await org.memberships().ProvisionOrganization(request)

        assert (made.id, made.display_name) == (request.organization_id, request.display_name)
        resolved = await org.memberships().ResolveMembership(
            ResolveMembershipRequest(organization_id=made.id, user_id=request.owner_user_id)
        )
        assert (resolved.role, resolved.rank, list(resolved.grants)) == ("owner", Rank.OWNER, ["*"])

    async def test_repeated_after_a_lost_answer_founds_nothing_new(self, org: Org) -> None:
        request = a_provision()

        first = await org.memberships().ProvisionOrganization(request)
        again = await org.memberships().ProvisionOrganization(request)

        assert again == first
        assert await org.count_announced(OrganizationCreated, organization_id=request.organization_id) == 1

    async def test_asked_ten_times_at_once_founds_one(self, org: Org) -> None:
        request = a_provision()

        answers = await asyncio.gather(*(org.memberships().ProvisionOrganization(request) for _ in range(10)))

        assert all(answer == answers[0] for answer in answers)
        assert await org.count_announced(OrganizationCreated, organization_id=request.organization_id) == 1

    async def test_repeated_later_answers_with_what_it_is_now(self, org: Org) -> None:
        request = a_provision()
        made = await org.memberships().ProvisionOrganization(request)
        owner = org.authority.caller(
            rank=Rank.OWNER,
            organization_id=ORGANIZATION.parse(made.id),
            principal_id=USER.parse(request.owner_user_id),
        )
        await org.organizations(owner).UpdateOrganization(
            UpdateOrganizationRequest(organization=Organization(display_name="Renamed"))
        )

        again = await org.memberships().ProvisionOrganization(request)

        assert again.display_name == "Renamed"
        assert (await org.organizations(owner).GetOrganization(GetOrganizationRequest())).display_name == "Renamed"

    async def test_of_an_id_with_another_owner_is_refused(self, org: Org) -> None:
        request = a_provision()
        await org.memberships().ProvisionOrganization(request)
        request.owner_user_id = USER.show(new_id())

        with refused("ORGANIZATION_ID_TAKEN"):
            await org.memberships().ProvisionOrganization(request)

    @pytest.mark.parametrize(
        ("organization_id", "owner_user_id"),
        [("org_1", USER.show(UUID(int=1))), (ORGANIZATION.show(UUID(int=1)), "key_1")],
    )
    async def test_refuses_ids_that_are_none(self, org: Org, organization_id: str, owner_user_id: str) -> None:
        with refused("INVALID_ID"):
            await org.memberships().ProvisionOrganization(
                ProvisionOrganizationRequest(
                    organization_id=organization_id, owner_user_id=owner_user_id, display_name="x"
                )
            )


class TestResolveMembership:
    async def test_of_a_stranger_says_nothing_but_no(self, org: Org) -> None:
        home = await found(org)

        stranger = await org.memberships().ResolveMembership(
            ResolveMembershipRequest(organization_id=home.id, user_id=USER.show(new_id()))
        )
        nowhere = await org.memberships().ResolveMembership(
            ResolveMembershipRequest(organization_id=ORGANIZATION.show(new_id()), user_id=home.owner_id)
        )

        assert stranger == nowhere == ResolveMembershipResponse()

    async def test_follows_changes_with_a_higher_revision(self, org: Org) -> None:
        home = await found(org)
        viewer = await org.a_member(home, Rank.VIEWER)
        request = ResolveMembershipRequest(organization_id=home.id, user_id=viewer.subject)
        before = await org.memberships().ResolveMembership(request)

        await org.members(home.owner).UpdateMember(
            UpdateMemberRequest(member=Member(user_id=viewer.subject, role="developer"))
        )
        after = await org.memberships().ResolveMembership(request)
        await org.members(home.owner).DeleteMember(DeleteMemberRequest(user_id=viewer.subject))

        assert (before.role, after.role, after.rank) == ("viewer", "developer", Rank.DEVELOPER)
        assert after.revision > before.revision
        assert not (await org.memberships().ResolveMembership(request)).is_member

    async def test_of_somebody_who_came_back_has_a_higher_revision_still(self, org: Org) -> None:
        home = await found(org)
        viewer = await org.a_member(home, Rank.VIEWER)
        request = ResolveMembershipRequest(organization_id=home.id, user_id=viewer.subject)
        for role in ("member", "developer"):
            change = UpdateMemberRequest(member=Member(user_id=viewer.subject, role=role))
            await org.members(home.owner).UpdateMember(change)
        before = await org.memberships().ResolveMembership(request)

        await org.members(home.owner).DeleteMember(DeleteMemberRequest(user_id=viewer.subject))
        await org.join(home, viewer.subject, "viewer")

        after = await org.memberships().ResolveMembership(request)
        assert (after.role, after.revision > before.revision) == ("viewer", True)


class TestListMembershipsOfUser:
    async def test_lists_every_organization_of_the_user_and_no_other(self, org: Org) -> None:
        home, other = await found(org), await found(org)
        member = await org.a_member(home, Rank.MEMBER)
        await org.join(other, member.subject, "admin")

        listed = await org.memberships().ListMembershipsOfUser(ListMembershipsOfUserRequest(user_id=member.subject))

        assert [(row.organization_id, row.role, row.rank) for row in listed.memberships] == [
            (home.id, "member", Rank.MEMBER),
            (other.id, "admin", Rank.ADMIN),
        ]
        assert listed.memberships[0].display_name == home.display_name

    async def test_of_nobody_is_empty(self, org: Org) -> None:
        listed = await org.memberships().ListMembershipsOfUser(
            ListMembershipsOfUserRequest(user_id=USER.show(new_id()))
        )

        assert not listed.memberships
