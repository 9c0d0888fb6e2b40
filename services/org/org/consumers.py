"""What org does when it hears from the services."""

from collections.abc import Callable
from typing import Any

from chassis.data.unit_of_work import Acquire
from chassis.messaging.events import Delivery
from org.application import feed
from org.domain.facts import Fact
from org.unit_of_work import OrgUnitOfWork

ReadFields = Callable[[str, bytes], dict[str, Any]]  # Any: JSON


class FeedRecorder:
    """Records every event of every service: feed, audit log, jobs and usage, once."""

    name = "feed"
    subjects = ("definable.>",)

    def __init__(self, acquire: Acquire[OrgUnitOfWork], read_fields: ReadFields) -> None:
        self._acquire = acquire
        self._read_fields = read_fields

    async def handle(self, delivery: Delivery) -> None:
        """Record one event. One that belongs to no organization is nobody's to see and is dropped."""
        envelope = delivery.envelope
        if envelope.organization_id is None:
            return
        fact = Fact(
            event_id=envelope.event_id,
            subject=envelope.subject,
            time=envelope.time,
            actor=envelope.actor.subject,
            actor_kind=envelope.actor.kind,
            principal_id=envelope.actor.principal_id,
            target=envelope.target,
            before_digest=envelope.before_digest,
            after_digest=envelope.after_digest,
            client_address=envelope.client_address,
            request_id=envelope.request_id,
            revision=envelope.revision,
            data=self._read_fields(envelope.message_type, delivery.payload),
        )
        organization_id, actor = envelope.organization_id, envelope.actor
        async with self._acquire.as_organization(organization_id, actor, inbox=delivery) as work:
            await feed.record(work, fact)
