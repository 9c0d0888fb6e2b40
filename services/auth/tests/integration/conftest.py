"""auth, running, and those who call it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from auth_testing import AuthUnderTest, running_auth
from google.protobuf.message import Message

from chassis.ids import new_id
from chassis.messaging.broker import Broker
from chassis.messaging.events import Envelope, stream_name, subject_of, to_headers
from chassis.rpc.caller import Actor, Caller
from chassis.testing import Authority, nats_settings
from definable.auth.v1.api_key_service_pb2 import ApiKey, CreateApiKeyRequest


@pytest.fixture(scope="session")
async def auth(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AuthUnderTest]:
    async with running_auth(tmp_path_factory.mktemp("auth"), nats=nats_settings()) as auth:
        yield auth


@pytest.fixture
async def key_caller(auth: AuthUnderTest) -> Caller:
    """A caller with an API key that may do everything its owner may."""
    person = await auth.sign_up()
    stub = auth.api_keys(await auth.caller(person.tokens.access_token))
    created = await stub.CreateApiKey(CreateApiKeyRequest(api_key=ApiKey(display_name="A key")))
    return await auth.caller(created.secret)


@pytest.fixture(scope="session")
async def org_events(authority: Authority) -> AsyncIterator[Callable[[Message, UUID], Awaitable[None]]]:
    """Publish an event in org's stream, as org's relay does."""
    broker = Broker(nats_settings(), name="org")
    jetstream = await broker.jetstream()
    await jetstream.add_stream(name=stream_name("org"), subjects=["definable.org.>"])

    async def publish(event: Message, organization_id: UUID) -> None:
        envelope = Envelope(
            event_id=new_id(),
            subject=subject_of(type(event)),
            time=datetime.now(UTC),
            organization_id=organization_id,
            actor=Actor.service("org"),
            message_type=event.DESCRIPTOR.full_name,
        )
        headers = to_headers(envelope)
        await jetstream.publish(envelope.subject, event.SerializeToString(), headers=headers)

    yield publish
    await broker.close()
