"""Revocations, as those who watch them see them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from auth_testing import AuthUnderTest, Person

from chassis.testing import refused
from definable.auth.v1.account_service_pb2 import LogOutRequest
from definable.auth.v1.api_key_service_pb2 import ApiKey, CreateApiKeyRequest, RevokeApiKeyRequest
from definable.auth.v1.authentication_service_pb2 import (
    ListFleetKeysRequest,
    MintServiceContextRequest,
    Revocation,
    WatchRevocationsRequest,
)
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceStub

IsWanted = Callable[[Revocation], bool]


async def a_key(auth: AuthUnderTest, person: Person) -> str:
    """Create a key and return its id."""
    stub = auth.api_keys(await auth.caller(person.tokens.access_token))
    created = await stub.CreateApiKey(CreateApiKeyRequest(api_key=ApiKey(display_name="A key")))
    return created.api_key.id


class TestWatchRevocations:
    async def test_opens_with_a_heartbeat(self, auth: AuthUnderTest) -> None:
        async with asyncio.timeout(2):
            assert [message.heartbeat async for message in _until(auth, lambda message: message.heartbeat)][-1]

    async def test_hears_of_a_log_out_within_a_second(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        caller = await auth.caller(person.tokens.access_token)
        watching = asyncio.create_task(_first(auth, lambda message: message.session_id == person.session_id))
        await asyncio.sleep(0.3)
        await auth.accounts(caller).LogOut(LogOutRequest())
        revocation = await asyncio.wait_for(watching, 1)
        assert revocation.time.ToDatetime(UTC) > datetime.now(UTC)

    async def test_hears_of_a_revoked_key(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        key_id = await a_key(auth, person)
        watching = asyncio.create_task(_first(auth, lambda message: message.key_id == key_id))
        caller = await auth.caller(person.tokens.access_token)
        await auth.api_keys(caller).RevokeApiKey(RevokeApiKeyRequest(id=key_id))
        await asyncio.wait_for(watching, 2)

    async def test_resumes_where_it_left(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        keys = [await a_key(auth, person) for _ in range(3)]
        caller = await auth.caller(person.tokens.access_token)
        for key in keys:
            await auth.api_keys(caller).RevokeApiKey(RevokeApiKeyRequest(id=key))
        first = await _first(auth, lambda message: message.key_id == keys[0])
        rest = [
            message.key_id
            async for message in _until(auth, lambda message: message.key_id == keys[2], after=first.sequence)
            if message.key_id
        ]
        assert rest == keys[1:]

    async def test_is_for_the_fleet_alone(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        caller = await auth.caller(person.tokens.access_token)
        for who, reason in ((caller, "INTERNAL_ONLY"), (None, "UNAUTHENTICATED")):
            with refused(reason):
                async for _ in auth.service.stub(AuthenticationServiceStub, who).WatchRevocations(
                    WatchRevocationsRequest()
                ):
                    pass
            with refused(reason):
                await auth.service.stub(AuthenticationServiceStub, who).ListFleetKeys(ListFleetKeysRequest())
            with refused(reason):
                await auth.service.stub(AuthenticationServiceStub, who).MintServiceContext(MintServiceContextRequest())


async def _until(auth: AuthUnderTest, is_last: IsWanted, *, after: int = 0) -> AsyncIterator[Revocation]:
    call = auth.authentication("kb").WatchRevocations(WatchRevocationsRequest(after_sequence=after))
    try:
        async for message in call:
            yield message
            if is_last(message):
                return
    finally:
        call.cancel()


async def _first(auth: AuthUnderTest, is_wanted: IsWanted) -> Revocation:
    async with asyncio.timeout(10):
        return [message async for message in _until(auth, is_wanted)][-1]
