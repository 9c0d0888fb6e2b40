"""For the tests of services: servers, an authority, services in this process, and expectations.

pytest_plugins = ["chassis.testing.plugin"]

@pytest.fixture(scope="session")
async def kb() -> AsyncIterator[InProcessService]:
async with start_service("kb", KbSettings, build, storage=storage_settings()) as service:
yield service

async def test_creates(kb: InProcessService, authority: Authority) -> None:
owner = authority.caller()
await kb.stub(KnowledgeBaseServiceStub, owner).CreateKnowledgeBase(...)
assert (await kb.outbox.last(KnowledgeBaseCreated)).knowledge_base_id
"""

from chassis.testing.authority import Authority
from chassis.testing.outbox import NothingAnnounced, OutboxReader, Recorded
from chassis.testing.refusals import NotRefused, Refusal, refused
from chassis.testing.servers import SERVERS, database_settings, nats_settings, storage_settings
from chassis.testing.services import InProcessService, caller_matrix, typed_organization
from chassis.testing.session import serve_fake, session_authority, start_service
from chassis.testing.waiting import eventually

__all__ = [
    "SERVERS",
    "Authority",
    "InProcessService",
    "NotRefused",
    "NothingAnnounced",
    "OutboxReader",
    "Recorded",
    "Refusal",
    "caller_matrix",
    "database_settings",
    "eventually",
    "nats_settings",
    "refused",
    "serve_fake",
    "session_authority",
    "start_service",
    "storage_settings",
    "typed_organization",
]
