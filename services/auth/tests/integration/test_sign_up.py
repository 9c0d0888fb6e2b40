"""Signing up: a user, an organization, and what happens when org is away."""

import asyncio
from datetime import timedelta

import pytest
from auth_testing import PASSWORD, AuthUnderTest

from chassis.ids import ORGANIZATION, USER
from chassis.testing import eventually, refused
from definable.auth.v1.account_service_pb2 import LogInRequest, SignUpRequest
from definable.auth.v1.events_pb2 import UserSignedUp


def a_request(email: str, **fields: str) -> SignUpRequest:
    return SignUpRequest(email=email, password=fields.pop("password", PASSWORD), **fields)


class TestSignUp:
    async def test_makes_a_user_who_owns_an_organization(self, auth: AuthUnderTest) -> None:
        reply = await auth.accounts().SignUp(
            a_request("Ada@Example.com", display_name="Ada", organization_name="Engines")
        )
        organization_id, user_id = ORGANIZATION.parse(reply.organization_id), USER.parse(reply.user.id)
        assert auth.org.members[organization_id, user_id].role == "owner"
        assert auth.org.names[organization_id] == "Engines"
        assert (reply.user.email, reply.user.display_name) == ("Ada@Example.com", "Ada")

    async def test_announces_ids_only(self, auth: AuthUnderTest) -> None:
        reply = await auth.accounts().SignUp(a_request("announced@example.com"))
        event = await auth.service.outbox.last(UserSignedUp)
        assert (event.user_id, event.organization_id) == (reply.user.id, reply.organization_id)
        assert b"announced" not in event.SerializeToString()

    async def test_names_what_was_left_out(self, auth: AuthUnderTest) -> None:
        reply = await auth.accounts().SignUp(a_request("grace@example.com"))
        assert reply.user.display_name == "grace"
        assert auth.org.names[ORGANIZATION.parse(reply.organization_id)] == "grace's organization"

    async def test_refuses_an_address_that_is_taken_whatever_its_case(self, auth: AuthUnderTest) -> None:
        await auth.accounts().SignUp(a_request("taken@example.com"))
        with refused("EMAIL_TAKEN"):
            await auth.accounts().SignUp(a_request("TAKEN@example.com"))

    async def test_lets_one_of_two_win_at_the_same_time(self, auth: AuthUnderTest) -> None:
        calls = [auth.accounts().SignUp(a_request("race@example.com")) for _ in range(4)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(not isinstance(result, BaseException) for result in results) == 1
        for result in results:
            if isinstance(result, BaseException):
                with refused("EMAIL_TAKEN"):
                    raise result

    @pytest.mark.parametrize(
        "request_",
        [
            SignUpRequest(),
            SignUpRequest(email="no-at-sign", password=PASSWORD),
            SignUpRequest(email="a@example.com", password="short"),
            SignUpRequest(email="a@example.com", password="x" * 257),
            SignUpRequest(email="a@example.com", password=PASSWORD, display_name="x" * 101),
            SignUpRequest(email=f"{'a' * 250}@example.com", password=PASSWORD),
        ],
    )
    async def test_refuses_bad_input(self, auth: AuthUnderTest, request_: SignUpRequest) -> None:
        with refused("VALIDATION_FAILED"):
            await auth.accounts().SignUp(request_)


class TestSignUpWhileOrgIsDown:
    async def test_says_so_and_the_job_finishes(self, auth: AuthUnderTest) -> None:
        email = "patient@example.com"
        auth.org.is_down = True
        try:
            with refused("DEPENDENCY_UNAVAILABLE") as seen:
                await auth.accounts().SignUp(a_request(email))
            assert seen.error is not None
            assert seen.error.retry_after == timedelta(seconds=5)
            with refused("EMAIL_TAKEN"):
                await auth.accounts().SignUp(a_request(email))
            with refused("DEPENDENCY_UNAVAILABLE"):
                await auth.log_in(email)
            signed_up = await auth.service.outbox.last(UserSignedUp)
        finally:
            auth.org.is_down = False
        key = ORGANIZATION.parse(signed_up.organization_id), USER.parse(signed_up.user_id)

        async def is_member() -> bool:
            return key in auth.org.members

        await eventually(is_member, timeout=30)
        assert (await auth.log_in(email)).organization_id == signed_up.organization_id

    async def test_logging_in_finishes_it_too(self, auth: AuthUnderTest) -> None:
        email = "hasty@example.com"
        auth.org.is_down = True
        try:
            with refused("DEPENDENCY_UNAVAILABLE"):
                await auth.accounts().SignUp(a_request(email))
        finally:
            auth.org.is_down = False
        tokens = await auth.log_in(email)
        assert (ORGANIZATION.parse(tokens.organization_id), USER.parse(tokens.user.id)) in auth.org.members


class TestLogIn:
    async def test_gives_tokens_for_the_home_organization(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        assert person.tokens.organization_id == ORGANIZATION.show(person.organization_id)
        assert (person.tokens.token_type, person.tokens.expires_in_seconds) == ("Bearer", 600)
        assert person.tokens.user.email == person.email

    async def test_takes_another_organization_when_the_home_is_left(self, auth: AuthUnderTest) -> None:
        person, host = await auth.sign_up(), await auth.sign_up()
        auth.org.add(host.organization_id, person.user_id)
        del auth.org.members[person.organization_id, person.user_id]
        assert (await auth.log_in(person.email)).organization_id == ORGANIZATION.show(host.organization_id)

    async def test_answers_alike_for_unknown_users_and_wrong_passwords(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up(log_in=False)
        with refused("CREDENTIALS_INVALID") as wrong:
            await auth.log_in(person.email, "not the password")
        with refused("CREDENTIALS_INVALID") as unknown:
            await auth.log_in("nobody@example.com", "not the password")
        assert str(wrong.error) == str(unknown.error)

    async def test_works_while_org_is_down_for_who_has_been_there(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        auth.org.is_down = True
        try:
            tokens = await auth.log_in(person.email)
        finally:
            auth.org.is_down = False
        assert tokens.organization_id == ORGANIZATION.show(person.organization_id)

    async def test_slows_down_who_guesses_at_one_account(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        for _ in range(10):
            with refused("CREDENTIALS_INVALID"):
                await auth.log_in(person.email, "a guess")
        with refused("RATE_LIMITED"):
            await auth.log_in(person.email)

    async def test_forgets_failures_after_a_success(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        for _ in range(3):
            for _ in range(9):
                with refused("CREDENTIALS_INVALID"):
                    await auth.log_in(person.email, "a typo")
            await auth.log_in(person.email)

    @pytest.mark.parametrize(
        "request_",
        [LogInRequest(), LogInRequest(email="a@example.com"), LogInRequest(email="a@b.c", password="x" * 300)],
    )
    async def test_refuses_bad_input(self, auth: AuthUnderTest, request_: LogInRequest) -> None:
        with refused("VALIDATION_FAILED"):
            await auth.accounts().LogIn(request_)
