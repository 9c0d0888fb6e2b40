"""org on a real broker: what it hears, from itself and from others."""

import nats
from google.protobuf.json_format import MessageToDict

from chassis.messaging.events import Delivery, stream_name, subject_of, to_headers
from chassis.testing import eventually, nats_settings, refused
from definable.kb.v1.events_pb2 import DocumentAccepted
from definable.options.v1.options_pb2 import Rank
from definable.org.v1.audit_service_pb2 import AuditEntry, ListAuditEntriesRequest
from definable.org.v1.event_service_pb2 import FeedEvent, ListEventsRequest

from .running import Home, Org, an_event, found  # noqa: TID252


async def events_of(org: Org, home: Home, *, at_least: int) -> list[FeedEvent]:
    async def listed() -> list[FeedEvent]:
        page = await org.events(home.owner).ListEvents(ListEventsRequest())
        return list(page.events) if len(page.events) >= at_least else []

    return await eventually(listed)


async def publish(deliveries: list[Delivery]) -> None:
    """Publish as kb would, each event twice and without the broker's own protection against doubles."""
    settings = nats_settings()
    client = await nats.connect(settings.url, user=settings.user, password=settings.password.get_secret_value())
    jetstream = client.jetstream()
    await jetstream.add_stream(name=stream_name("kb"), subjects=["definable.kb.>"])
    for delivery in [*deliveries, *deliveries]:
        await jetstream.publish(subject_of(DocumentAccepted), delivery.payload, headers=to_headers(delivery.envelope))
    await client.close()


class TestHearing:
    async def test_its_own_events_become_feed_and_audit_log(self, org_on_nats: Org) -> None:
        home = await found(org_on_nats)
        member = await org_on_nats.a_member(home, Rank.DEVELOPER)

        events = await events_of(org_on_nats, home, at_least=3)

        assert [event.seq for event in events] == [1, 2, 3]
        assert sorted(event.type for event in events) == [
            "definable.org.member.added.v1",
            "definable.org.member.added.v1",
            "definable.org.organization.created.v1",
        ]
        page = await org_on_nats.audit(home.owner).ListAuditEntries(ListAuditEntriesRequest(target=member.subject))
        [entry] = page.audit_entries
        assert (entry.actor, entry.before_digest, len(entry.after_digest)) == (home.owner_id, "", 64)
        assert entry.request_id

    async def test_another_services_events_count_once_however_often_they_come(self, org_on_nats: Org) -> None:
        home = await found(org_on_nats)
        await events_of(org_on_nats, home, at_least=2)

        await publish([an_event(home, DocumentAccepted(document_id=f"doc_{n}"), service="kb") for n in range(10)])
        events = await events_of(org_on_nats, home, at_least=12)

        assert [event.seq for event in events] == list(range(1, 13))
        heard = [str(event.data["document_id"]) for event in events if event.type.startswith("definable.kb.")]
        assert sorted(heard) == sorted(f"doc_{n}" for n in range(10))

    async def test_refused_accesses_are_in_the_audit_log(self, org_on_nats: Org) -> None:
        home = await found(org_on_nats)
        viewer = await org_on_nats.a_member(home, Rank.VIEWER)
        for _ in range(3):
            with refused("PERMISSION_DENIED"):
                await org_on_nats.audit(viewer).ListAuditEntries(ListAuditEntriesRequest())

        async def refusals() -> list[AuditEntry]:
            request = ListAuditEntriesRequest(subject_prefix="definable.org.access.refused")
            return list((await org_on_nats.audit(home.owner).ListAuditEntries(request)).audit_entries)

        entries = await eventually(refusals)

        assert {entry.actor for entry in entries} == {viewer.subject}
        seen = [refusal for entry in entries for refusal in MessageToDict(entry.data)["refusals"]]
        assert {refusal["permission"] for refusal in seen} == {"org.audit.read"}
        assert sum(refusal["count"] for refusal in seen) <= 3
