"""Refreshing, switching and ending sessions."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from auth_testing import AuthUnderTest, Person, Standing
from sqlalchemy import text

from chassis.errors import FleetError
from chassis.ids import ORGANIZATION
from chassis.rpc.caller import Caller
from chassis.testing import eventually, refused
from definable.auth.v1.account_service_pb2 import (
    LogOutEverywhereRequest,
    LogOutRequest,
    RefreshSessionRequest,
    RefreshSessionResponse,
    SwitchOrganizationRequest,
)
from definable.auth.v1.events_pb2 import SESSION_END_CAUSE_TOKEN_REUSED, OrganizationSwitched, SessionRevoked
from definable.auth.v1.user_service_pb2 import GetMeRequest
from definable.options.v1.options_pb2 import Rank


async def refresh(auth: AuthUnderTest, token: str) -> RefreshSessionResponse:
    return await auth.accounts().RefreshSession(RefreshSessionRequest(refresh_token=token))


async def grow_older(auth: AuthUnderTest, person: Person, age: timedelta) -> None:
    """Move the times of a person's refresh tokens into the past, as waiting would."""
    async with auth.owner_connection() as connection:
        await connection.execute(
            text(
                "UPDATE auth.refresh_tokens SET used_time = used_time - CAST(:age AS interval),"
                " expire_time = expire_time - CAST(:age AS interval) WHERE user_id = :user_id"
            ),
            {"age": age, "user_id": person.user_id},
        )


class TestRefreshSession:
    async def test_gives_a_new_pair(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        pair = await refresh(auth, person.tokens.refresh_token)
        assert pair.refresh_token != person.tokens.refresh_token
        assert pair.organization_id == person.tokens.organization_id
        assert await auth.authenticate(pair.access_token)

    async def test_gives_the_same_child_to_those_who_ask_at_once(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        pairs = await asyncio.gather(*(refresh(auth, person.tokens.refresh_token) for _ in range(8)))
        assert len({pair.refresh_token for pair in pairs}) == 1

    async def test_ends_the_session_on_a_late_reuse(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        pair = await refresh(auth, person.tokens.refresh_token)
        await grow_older(auth, person, timedelta(seconds=11))
        with refused("REFRESH_TOKEN_REUSED"):
            await refresh(auth, person.tokens.refresh_token)
        with refused("REFRESH_TOKEN_INVALID"):
            await refresh(auth, pair.refresh_token)
        with refused("CREDENTIAL_REVOKED"):
            await auth.authenticate(pair.access_token)
        assert (await auth.service.outbox.last(SessionRevoked)).cause == SESSION_END_CAUSE_TOKEN_REUSED

    async def test_keeps_the_lost_reply_harmless_for_ten_seconds(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        lost = await refresh(auth, person.tokens.refresh_token)
        await grow_older(auth, person, timedelta(seconds=8))
        assert (await refresh(auth, person.tokens.refresh_token)).refresh_token == lost.refresh_token

    async def test_refuses_an_expired_token(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        await grow_older(auth, person, timedelta(days=31))
        with refused("REFRESH_TOKEN_INVALID"):
            await refresh(auth, person.tokens.refresh_token)

    @pytest.mark.parametrize("token", ["x", "dfr_", "dfr_" + "0" * 43, "dfr_" + "ö" * 43])
    async def test_refuses_a_token_nobody_gave(self, auth: AuthUnderTest, token: str) -> None:
        with refused("REFRESH_TOKEN_INVALID"):
            await refresh(auth, token)

    async def test_refuses_an_empty_token(self, auth: AuthUnderTest) -> None:
        with refused("VALIDATION_FAILED"):
            await refresh(auth, "")

    async def test_stores_no_token(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        async with auth.owner_connection() as connection:
            rows = await connection.execute(text("SELECT t::text FROM auth.refresh_tokens AS t"))
            assert person.tokens.refresh_token not in "".join(row[0] for row in rows)


class TestLogOut:
    async def test_ends_this_session_only(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        other = await auth.log_in(person.email)
        caller = await auth.caller(person.tokens.access_token)
        await auth.accounts(caller).LogOut(LogOutRequest())
        with refused("CREDENTIAL_REVOKED"):
            await auth.authenticate(person.tokens.access_token)
        with refused("REFRESH_TOKEN_INVALID"):
            await refresh(auth, person.tokens.refresh_token)
        assert await auth.authenticate(other.access_token)

    async def test_everywhere_ends_all(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        other = await auth.log_in(person.email)
        caller = await auth.caller(person.tokens.access_token)
        reply = await auth.accounts(caller).LogOutEverywhere(LogOutEverywhereRequest())
        assert reply.ended_session_count == 2
        for tokens in (person.tokens, other):
            with refused("CREDENTIAL_REVOKED"):
                await auth.authenticate(tokens.access_token)

    async def test_spares_other_people(self, auth: AuthUnderTest) -> None:
        person, bystander = await auth.sign_up(), await auth.sign_up()
        caller = await auth.caller(person.tokens.access_token)
        await auth.accounts(caller).LogOutEverywhere(LogOutEverywhereRequest())
        assert await auth.authenticate(bystander.tokens.access_token)

    async def test_kills_the_context_token_within_a_second(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        caller = await auth.caller(person.tokens.access_token)
        await auth.accounts(caller).LogOut(LogOutRequest())

        async def is_dead() -> bool:
            try:
                await auth.users(caller).GetMe(GetMeRequest())
            except FleetError as error:
                return error.reason == "UNAUTHENTICATED"
            return False

        await eventually(is_dead, timeout=1)

    async def test_needs_a_session(self, auth: AuthUnderTest, key_caller: Caller) -> None:
        with refused("SESSION_REQUIRED"):
            await auth.accounts(key_caller).LogOut(LogOutRequest())
        with refused("SESSION_REQUIRED"):
            await auth.accounts(key_caller).LogOutEverywhere(LogOutEverywhereRequest())
        with refused("UNAUTHENTICATED"):
            await auth.accounts().LogOut(LogOutRequest())
        with refused("UNAUTHENTICATED"):
            await auth.accounts().LogOutEverywhere(LogOutEverywhereRequest())


class TestSwitchOrganization:
    async def test_gives_tokens_that_stay_in_the_other_organization(self, auth: AuthUnderTest) -> None:
        person, host = await auth.sign_up(), await auth.sign_up()
        auth.org.add(host.organization_id, person.user_id, Standing(rank=Rank.VIEWER, role="viewer"))
        wanted = ORGANIZATION.show(host.organization_id)
        caller = await auth.caller(person.tokens.access_token)
        pair = await auth.accounts(caller).SwitchOrganization(SwitchOrganizationRequest(organization_id=wanted))
        assert pair.organization_id == wanted
        assert (await refresh(auth, pair.refresh_token)).organization_id == wanted
        assert (await refresh(auth, person.tokens.refresh_token)).organization_id != wanted
        event = await auth.service.outbox.last(OrganizationSwitched)
        assert event.to_organization_id == wanted

    async def test_hides_organizations_of_others(self, auth: AuthUnderTest) -> None:
        person, stranger = await auth.sign_up(), await auth.sign_up()
        caller = await auth.caller(person.tokens.access_token)
        for organization_id in (stranger.organization_id, uuid4()):
            with refused("ORGANIZATION_NOT_FOUND"):
                await auth.accounts(caller).SwitchOrganization(
                    SwitchOrganizationRequest(organization_id=ORGANIZATION.show(organization_id))
                )

    async def test_refuses_bad_input_and_other_callers(self, auth: AuthUnderTest, key_caller: Caller) -> None:
        person = await auth.sign_up()
        caller = await auth.caller(person.tokens.access_token)
        own = SwitchOrganizationRequest(organization_id=ORGANIZATION.show(person.organization_id))
        with refused("INVALID_ID"):
            await auth.accounts(caller).SwitchOrganization(SwitchOrganizationRequest(organization_id="user_x"))
        with refused("VALIDATION_FAILED"):
            await auth.accounts(caller).SwitchOrganization(SwitchOrganizationRequest())
        with refused("SESSION_REQUIRED"):
            await auth.accounts(key_caller).SwitchOrganization(own)
        with refused("UNAUTHENTICATED"):
            await auth.accounts().SwitchOrganization(own)
