"""The caller's own profile, and the directory."""

import pytest
from auth_testing import AuthUnderTest, Standing
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.ids import ORGANIZATION, USER, new_id
from chassis.rpc.caller import Caller
from chassis.testing import refused
from definable.auth.v1.events_pb2 import UserInvited, UserUpdated
from definable.auth.v1.user_directory_service_pb2 import EnsureUserRequest, GetUsersRequest
from definable.auth.v1.user_service_pb2 import GetMeRequest, UpdateMeRequest, User
from definable.options.v1.options_pb2 import Rank


def renaming(name: str, *paths: str) -> UpdateMeRequest:
    return UpdateMeRequest(user=User(display_name=name), update_mask=FieldMask(paths=paths or ["display_name"]))


class TestGetMe:
    async def test_shows_the_user_with_all_their_organizations(self, auth: AuthUnderTest) -> None:
        person, host = await auth.sign_up(), await auth.sign_up()
        auth.org.add(host.organization_id, person.user_id, Standing(rank=Rank.VIEWER, role="viewer"))
        me = await auth.users(await auth.caller(person.tokens.access_token)).GetMe(GetMeRequest())
        assert me.user.email == person.email
        assert me.organization_id == ORGANIZATION.show(person.organization_id)
        assert {one.organization_id: one.role for one in me.organizations} == {
            ORGANIZATION.show(person.organization_id): "owner",
            ORGANIZATION.show(host.organization_id): "viewer",
        }

    async def test_lists_what_the_rank_permits(self, auth: AuthUnderTest) -> None:
        owner, viewer = await auth.sign_up(), await auth.sign_up()
        auth.org.add(viewer.organization_id, viewer.user_id, Standing(rank=Rank.VIEWER, role="viewer"))
        of_owner = await auth.users(await auth.caller(owner.tokens.access_token)).GetMe(GetMeRequest())
        of_viewer = await auth.users(await auth.caller(viewer.tokens.access_token)).GetMe(GetMeRequest())
        assert "auth.api_keys.create" in of_owner.permissions
        assert "auth.api_keys.create" not in of_viewer.permissions
        assert set(of_viewer.permissions) < set(of_owner.permissions)

    async def test_shows_a_key_its_creator(self, auth: AuthUnderTest, key_caller: Caller) -> None:
        me = await auth.users(key_caller).GetMe(GetMeRequest())
        assert me.credential_kind == "api_key"
        assert me.user.id.startswith("user_")

    async def test_says_when_memberships_cant_be_read(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        caller = await auth.caller(person.tokens.access_token)
        auth.org.is_down = True
        try:
            with refused("DEPENDENCY_UNAVAILABLE"):
                await auth.users(caller).GetMe(GetMeRequest())
        finally:
            auth.org.is_down = False

    async def test_needs_a_credential(self, auth: AuthUnderTest) -> None:
        with refused("UNAUTHENTICATED"):
            await auth.users().GetMe(GetMeRequest())


class TestUpdateMe:
    async def test_renames_and_announces(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        users = auth.users(await auth.caller(person.tokens.access_token))
        before = (await users.GetMe(GetMeRequest())).user
        after = await users.UpdateMe(renaming("Renamed"))
        assert after.display_name == "Renamed"
        assert after.etag != before.etag
        assert list((await auth.service.outbox.last(UserUpdated)).changed_fields) == ["display_name"]

    async def test_refuses_what_was_changed_meanwhile(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        users = auth.users(await auth.caller(person.tokens.access_token))
        read = (await users.GetMe(GetMeRequest())).user
        await users.UpdateMe(renaming("First"), metadata=[("if-match", read.etag)])
        with refused("ETAG_MISMATCH"):
            await users.UpdateMe(renaming("Second"), metadata=[("if-match", read.etag)])

    @pytest.mark.parametrize(
        "request_", [renaming(""), renaming("x" * 101), renaming("x", "email"), renaming("x", "id")]
    )
    async def test_refuses_bad_input(self, auth: AuthUnderTest, request_: UpdateMeRequest) -> None:
        person = await auth.sign_up()
        with refused("VALIDATION_FAILED"):
            await auth.users(await auth.caller(person.tokens.access_token)).UpdateMe(request_)

    async def test_refuses_keys_and_nobody(self, auth: AuthUnderTest, key_caller: Caller) -> None:
        with refused("SESSION_REQUIRED"):
            await auth.users(key_caller).UpdateMe(renaming("x"))
        with refused("UNAUTHENTICATED"):
            await auth.users().UpdateMe(renaming("x"))


class TestEnsureUser:
    async def test_creates_once_and_then_finds(self, auth: AuthUnderTest) -> None:
        request = EnsureUserRequest(email="Invited@example.com", display_name="Invited")
        created = await auth.directory("org").EnsureUser(request)
        assert (await auth.service.outbox.last(UserInvited)).user_id == created.id
        again = await auth.directory("org").EnsureUser(EnsureUserRequest(email="invited@EXAMPLE.com"))
        assert (again.id, again.display_name) == (created.id, "Invited")

    async def test_makes_nobody_who_could_log_in(self, auth: AuthUnderTest) -> None:
        await auth.directory("org").EnsureUser(EnsureUserRequest(email="passive@example.com"))
        with refused("CREDENTIALS_INVALID"):
            await auth.log_in("passive@example.com", "anything")

    async def test_is_for_org_alone(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        request = EnsureUserRequest(email="x@example.com")
        with refused("INTERNAL_ONLY"):
            await auth.directory("kb").EnsureUser(request)
        with refused("INTERNAL_ONLY"):
            caller = await auth.caller(person.tokens.access_token)
            await auth.service.stub(type(auth.directory("org")), caller).EnsureUser(request)

    async def test_refuses_bad_input(self, auth: AuthUnderTest) -> None:
        with refused("VALIDATION_FAILED"):
            await auth.directory("org").EnsureUser(EnsureUserRequest(email="nope"))


class TestGetUsers:
    async def test_names_those_who_exist(self, auth: AuthUnderTest) -> None:
        first, second = await auth.sign_up(), await auth.sign_up()
        ids = [USER.show(one) for one in (first.user_id, second.user_id, new_id())]
        reply = await auth.directory("conversation").GetUsers(GetUsersRequest(ids=ids))
        assert {user.email for user in reply.users} == {first.email, second.email}

    @pytest.mark.parametrize("ids", [[], ["x"] * 2, [f"user_{number}" for number in range(201)]])
    async def test_refuses_none_doubles_and_too_many(self, auth: AuthUnderTest, ids: list[str]) -> None:
        with refused("VALIDATION_FAILED"):
            await auth.directory("org").GetUsers(GetUsersRequest(ids=ids))

    async def test_refuses_ids_of_other_things(self, auth: AuthUnderTest) -> None:
        with refused("INVALID_ID"):
            await auth.directory("org").GetUsers(GetUsersRequest(ids=[ORGANIZATION.show(new_id())]))
