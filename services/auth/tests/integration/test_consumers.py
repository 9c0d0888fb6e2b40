"""What auth does when a membership changes."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from auth_testing import AuthUnderTest, Standing

from chassis.ids import ORGANIZATION, USER
from chassis.testing import refused
from definable.auth.v1.authentication_service_pb2 import Revocation, WatchRevocationsRequest
from definable.auth.v1.user_service_pb2 import GetMeRequest
from definable.options.v1.options_pb2 import Rank
from definable.org.v1.events_pb2 import MemberRemoved, MemberRoleChanged


async def revocation_of(auth: AuthUnderTest, user_id: str) -> Revocation:
    call = auth.authentication("agent").WatchRevocations(WatchRevocationsRequest())
    try:
        async with asyncio.timeout(10):
            async for message in call:
                if message.user_id == user_id:
                    found: Revocation = message
                    return found
    finally:
        call.cancel()
    raise AssertionError("the stream ended")


class TestMembershipChanged:
    @pytest.mark.parametrize("kind", [MemberRemoved, MemberRoleChanged])
    async def test_revokes_tokens_in_that_organization(self, auth: AuthUnderTest, kind: Any, org_events: Any) -> None:
        person = await auth.sign_up()
        user_id, organization_id = USER.show(person.user_id), ORGANIZATION.show(person.organization_id)
        await org_events(kind(organization_id=organization_id, user_id=user_id), person.organization_id)
        revocation = await revocation_of(auth, user_id)
        assert revocation.organization_id == organization_id
        assert revocation.time.ToDatetime(UTC) <= datetime.now(UTC)

    async def test_ends_the_callers_context_token(self, auth: AuthUnderTest, org_events: Any) -> None:
        person = await auth.sign_up()
        caller = await auth.caller(person.tokens.access_token)
        await auth.users(caller).GetMe(GetMeRequest())
        auth.org.add(person.organization_id, person.user_id, Standing(rank=Rank.VIEWER, role="viewer", revision=2))
        await org_events(
            MemberRoleChanged(
                organization_id=ORGANIZATION.show(person.organization_id), user_id=USER.show(person.user_id)
            ),
            person.organization_id,
        )
        await revocation_of(auth, USER.show(person.user_id))
        await asyncio.sleep(0.3)
        with refused("UNAUTHENTICATED"):
            await auth.users(caller).GetMe(GetMeRequest())
        fresh = await auth.caller(person.tokens.access_token)
        assert "auth.api_keys.create" not in (await auth.users(fresh).GetMe(GetMeRequest())).permissions

    async def test_forgets_the_stored_answer(self, auth: AuthUnderTest, org_events: Any) -> None:
        person = await auth.sign_up()
        await auth.authenticate(person.tokens.access_token)
        await org_events(
            MemberRemoved(organization_id=ORGANIZATION.show(person.organization_id), user_id=USER.show(person.user_id)),
            person.organization_id,
        )
        await revocation_of(auth, USER.show(person.user_id))
        auth.org.is_down = True
        try:
            with refused("DEPENDENCY_UNAVAILABLE"):
                await auth.authenticate(person.tokens.access_token)
        finally:
            auth.org.is_down = False
