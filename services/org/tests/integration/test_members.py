"""MemberService: the hierarchy holds, also when everybody moves at once."""

import asyncio

import pytest

from chassis.errors import FleetError
from chassis.ids import USER, new_id
from chassis.testing import refused
from definable.options.v1.options_pb2 import Rank
from definable.org.v1.events_pb2 import MemberAdded, MemberRemoved, MemberRoleChanged
from definable.org.v1.member_service_pb2 import (
    CreateMemberRequest,
    DeleteMemberRequest,
    GetMemberRequest,
    ListMembersRequest,
    Member,
    UpdateMemberRequest,
)

from .running import Org, an_address, found  # noqa: TID252


def a_change(user_id: str, role: str) -> UpdateMemberRequest:
    return UpdateMemberRequest(member=Member(user_id=user_id, role=role))


class TestCreateMember:
    async def test_adds_the_person_behind_an_address(self, org: Org) -> None:
        home, email = await found(org), an_address()

        member = await org.members(home.owner).CreateMember(CreateMemberRequest(email=email, role="developer"))

        assert (member.email, member.role) == (email, "developer")
        assert member.user_id == org.directory.user_id_of(email)
        event = await org.announced(MemberAdded)
        assert (event.user_id, event.role, event.organization_id) == (member.user_id, "developer", home.id)

    async def test_refuses_whoever_is_a_member_already(self, org: Org) -> None:
        home = await found(org)
        request = CreateMemberRequest(email=an_address(), role="viewer")
        await org.members(home.owner).CreateMember(request)

        with refused("MEMBER_EXISTS"):
            await org.members(home.owner).CreateMember(request)

    async def test_adds_one_member_when_asked_ten_times_at_once(self, org: Org) -> None:
        home = await found(org)
        request = CreateMemberRequest(email=an_address(), role="viewer")

        answers = await asyncio.gather(
            *(org.members(home.owner).CreateMember(request) for _ in range(10)), return_exceptions=True
        )

        assert sum(isinstance(answer, Member) for answer in answers) == 1
        assert {answer.reason for answer in answers if isinstance(answer, FleetError)} == {"MEMBER_EXISTS"}

    async def test_grants_nothing_above_the_callers_rank_and_creates_nobody(self, org: Org) -> None:
        home, email = await found(org), an_address()
        admin = await org.a_member(home, Rank.ADMIN)

        with refused("ROLE_ABOVE_OWN_RANK"):
            await org.members(admin).CreateMember(CreateMemberRequest(email=email, role="owner"))

        assert not org.directory.knows(email)

    async def test_refuses_roles_that_are_none(self, org: Org) -> None:
        home = await found(org)

        with refused("ROLE_UNKNOWN"):
            await org.members(home.owner).CreateMember(CreateMemberRequest(email=an_address(), role="root"))

    @pytest.mark.parametrize("email", ["", "nobody", "a@", "x" * 250 + "@a.io"])
    async def test_refuses_addresses_that_are_none(self, org: Org, email: str) -> None:
        home = await found(org)

        with refused("VALIDATION_FAILED"):
            await org.members(home.owner).CreateMember(CreateMemberRequest(email=email, role="viewer"))

    async def test_is_unavailable_while_the_directory_is(self, org: Org) -> None:
        home = await found(org)

        with org.directory.away(), refused("DEPENDENCY_UNAVAILABLE"):
            await org.members(home.owner).CreateMember(CreateMemberRequest(email=an_address(), role="viewer"))

    async def test_repeated_with_its_key_answers_the_same(self, org: Org) -> None:
        home = await found(org)
        request, key = CreateMemberRequest(email=an_address(), role="viewer"), (("idempotency-key", new_id().hex),)

        first = await org.members(home.owner).CreateMember(request, metadata=key)

        assert await org.members(home.owner).CreateMember(request, metadata=key) == first


class TestListMembers:
    async def test_names_members_oldest_first_and_pages(self, org: Org) -> None:
        home = await found(org)
        emails = [an_address() for _ in range(4)]
        for email in emails:
            await org.members(home.owner).CreateMember(CreateMemberRequest(email=email, role="viewer"))

        first = await org.members(home.owner).ListMembers(ListMembersRequest(page_size=3))
        rest = await org.members(home.owner).ListMembers(
            ListMembersRequest(page_size=3, page_token=first.next_page_token)
        )

        assert [member.email for member in [*first.members, *rest.members]][1:] == emails
        assert rest.next_page_token == ""

    async def test_filters_by_role_and_binds_the_token_to_it(self, org: Org) -> None:
        home = await found(org)
        for role in ("viewer", "developer", "viewer"):
            await org.members(home.owner).CreateMember(CreateMemberRequest(email=an_address(), role=role))

        page = await org.members(home.owner).ListMembers(ListMembersRequest(page_size=1, role="viewer"))

        assert [member.role for member in page.members] == ["viewer"]
        with refused("PAGE_TOKEN_INVALID"):
            await org.members(home.owner).ListMembers(
                ListMembersRequest(page_size=1, role="developer", page_token=page.next_page_token)
            )

    async def test_goes_on_without_names_while_the_directory_is_away(self, org: Org) -> None:
        home = await found(org)

        with org.directory.away():
            page = await org.members(home.owner).ListMembers(ListMembersRequest())

        assert [(member.user_id, member.display_name) for member in page.members] == [(home.owner_id, "")]

    async def test_shows_nobody_of_another_organization(self, org: Org) -> None:
        home, other = await found(org), await found(org)

        page = await org.members(other.owner).ListMembers(ListMembersRequest())

        assert home.owner_id not in [member.user_id for member in page.members]


class TestForeignMembers:
    """A member of another organization answers as a user who does not exist."""

    @pytest.mark.parametrize("call", ["get", "update", "delete"])
    async def test_answers_as_unknown(self, org: Org, call: str) -> None:
        home, other = await found(org), await found(org)
        stub = org.members(other.owner)

        async def ask(user_id: str) -> None:
            if call == "get":
                await stub.GetMember(GetMemberRequest(user_id=user_id))
            elif call == "update":
                await stub.UpdateMember(a_change(user_id, "viewer"))
            else:
                await stub.DeleteMember(DeleteMemberRequest(user_id=user_id))

        answers = []
        for user_id in (home.owner_id, USER.show(new_id())):
            with pytest.raises(FleetError) as caught:
                await ask(user_id)
            answers.append((caught.value.code, caught.value.reason, caught.value.message, caught.value.metadata))

        assert answers[0] == answers[1]
        assert answers[0][1] == "MEMBER_NOT_FOUND"
        assert (await org.members(home.owner).GetMember(GetMemberRequest(user_id=home.owner_id))).role == "owner"

    async def test_an_id_of_another_kind_is_refused_before_anything(self, org: Org) -> None:
        home = await found(org)

        with refused("INVALID_ID"):
            await org.members(home.owner).GetMember(GetMemberRequest(user_id=home.id))


class TestUpdateMember:
    async def test_changes_the_role_and_says_so(self, org: Org) -> None:
        home = await found(org)
        viewer = await org.a_member(home, Rank.VIEWER)

        changed = await org.members(home.owner).UpdateMember(a_change(viewer.subject, "admin"))

        assert changed.role == "admin"
        event = await org.announced(MemberRoleChanged)
        assert (event.user_id, event.old_role, event.new_role) == (viewer.subject, "viewer", "admin")

    async def test_to_the_same_role_announces_nothing(self, org: Org) -> None:
        home = await found(org)
        viewer = await org.a_member(home, Rank.VIEWER)
        before = await org.count_announced(MemberRoleChanged, organization_id=home.id)

        same = await org.members(home.owner).UpdateMember(a_change(viewer.subject, "viewer"))

        assert same.role == "viewer"
        assert await org.count_announced(MemberRoleChanged, organization_id=home.id) == before

    async def test_touches_nobody_above_the_caller(self, org: Org) -> None:
        home = await found(org)
        admin = await org.a_member(home, Rank.ADMIN)

        with refused("MEMBER_ABOVE_OWN_RANK"):
            await org.members(admin).UpdateMember(a_change(home.owner_id, "viewer"))

    async def test_grants_nothing_above_the_caller_not_even_to_the_caller(self, org: Org) -> None:
        home = await found(org)
        admin = await org.a_member(home, Rank.ADMIN)

        with refused("ROLE_ABOVE_OWN_RANK"):
            await org.members(admin).UpdateMember(a_change(admin.subject, "owner"))

    async def test_trusts_the_membership_more_than_an_older_token(self, org: Org) -> None:
        home = await found(org)
        admin, viewer = await org.a_member(home, Rank.ADMIN), await org.a_member(home, Rank.VIEWER)
        await org.members(home.owner).UpdateMember(a_change(admin.subject, "viewer"))

        with refused("ROLE_ABOVE_OWN_RANK"):
            await org.members(admin).UpdateMember(a_change(viewer.subject, "admin"))

    async def test_keeps_the_last_owner(self, org: Org) -> None:
        home = await found(org)

        with refused("LAST_OWNER"):
            await org.members(home.owner).UpdateMember(a_change(home.owner_id, "admin"))

    async def test_refuses_an_older_etag(self, org: Org) -> None:
        home = await found(org)
        viewer = await org.a_member(home, Rank.VIEWER)
        shown = await org.members(home.owner).GetMember(GetMemberRequest(user_id=viewer.subject))
        await org.members(home.owner).UpdateMember(a_change(viewer.subject, "member"))

        with refused("ETAG_MISMATCH"):
            await org.members(home.owner).UpdateMember(
                a_change(viewer.subject, "viewer"), metadata=(("if-match", shown.etag),)
            )


class TestDeleteMember:
    async def test_removes_and_says_so(self, org: Org) -> None:
        home = await found(org)
        viewer = await org.a_member(home, Rank.VIEWER)

        await org.members(home.owner).DeleteMember(DeleteMemberRequest(user_id=viewer.subject))

        with refused("MEMBER_NOT_FOUND"):
            await org.members(home.owner).GetMember(GetMemberRequest(user_id=viewer.subject))
        assert (await org.announced(MemberRemoved)).user_id == viewer.subject

    async def test_touches_nobody_above_the_caller(self, org: Org) -> None:
        home = await found(org)
        admin = await org.a_member(home, Rank.ADMIN)

        with refused("MEMBER_ABOVE_OWN_RANK"):
            await org.members(admin).DeleteMember(DeleteMemberRequest(user_id=home.owner_id))

    async def test_keeps_the_last_owner(self, org: Org) -> None:
        home = await found(org)

        with refused("LAST_OWNER"):
            await org.members(home.owner).DeleteMember(DeleteMemberRequest(user_id=home.owner_id))


class TestLastOwnerUnderRaces:
    @pytest.mark.parametrize("attempt", range(5))
    async def test_two_owners_who_remove_each_other_leave_one(self, org: Org, attempt: int) -> None:
        home = await found(org)
        second = await org.a_member(home, Rank.OWNER)

        answers = await asyncio.gather(
            org.members(home.owner).DeleteMember(DeleteMemberRequest(user_id=second.subject)),
            org.members(second).DeleteMember(DeleteMemberRequest(user_id=home.owner_id)),
            return_exceptions=True,
        )

        assert sum(isinstance(answer, FleetError) for answer in answers) == 1
        assert await org.owner_count(home) == 1

    @pytest.mark.parametrize("attempt", range(3))
    async def test_many_owners_who_all_step_down_leave_one(self, org: Org, attempt: int) -> None:
        home = await found(org)
        owners = [home.owner, *[await org.a_member(home, Rank.OWNER) for _ in range(5)]]

        answers = await asyncio.gather(
            *(org.members(owner).UpdateMember(a_change(owner.subject, "viewer")) for owner in owners),
            return_exceptions=True,
        )

        refusals = [answer.reason for answer in answers if isinstance(answer, FleetError)]
        assert refusals == ["LAST_OWNER"]
        assert await org.owner_count(home) == 1
