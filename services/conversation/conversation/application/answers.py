"""Bringing answers to their end: from the event of a run's end, or on reading one that is still open."""

from collections.abc import Sequence
from uuid import UUID

from chassis.data.unit_of_work import Acquire
from chassis.errors import FleetError
from chassis.messaging.events import Delivery
from chassis.rpc.client import as_service
from chassis.telemetry import get_logger
from conversation.application import messages
from conversation.domain import states
from conversation.domain.ports import Agent, RunOutcome
from conversation.models import Message
from conversation.unit_of_work import ConversationUnitOfWork

log = get_logger(__name__)


class FinishAnswers:
    """Fetch what runs have come to and store it, each once."""

    def __init__(self, acquire: Acquire[ConversationUnitOfWork], agent: Agent) -> None:
        self._acquire = acquire
        self._agent = agent

    async def of_delivery(self, delivery: Delivery, run_id: UUID) -> None:
        """Store the answer of the run whose end was announced.

        Raises when agent cannot be asked, so that the event comes again.
        """
        envelope = delivery.envelope
        if envelope.organization_id is None:
            return
        outcome = await self._outcome(envelope.organization_id, run_id)
        async with self._acquire.as_organization(envelope.organization_id, envelope.actor, inbox=delivery) as work:
            if outcome is not None:
                await messages.record_outcome(work, run_id, outcome)

    async def refreshed(self, found: Sequence[Message]) -> list[Message]:
        """Return messages with the open answers among them as their runs stand now.

        With agent away they are returned as they were stored: a reader gets something old rather than nothing.
        """
        return [await self._refresh(message) for message in found]

    async def _refresh(self, message: Message) -> Message:
        if message.state not in states.OPEN_STATES or message.run_id is None:
            return message
        try:
            outcome = await self._outcome(message.organization_id, message.run_id)
        except FleetError as error:
            log.warning("answer_not_refreshed", run_id=str(message.run_id), reason=error.reason)
            return message
        if outcome is None or outcome.state == message.state:
            return message
        async with self._acquire() as work:
            return await messages.record_outcome(work, message.run_id, outcome) or message

    async def _outcome(self, organization_id: UUID, run_id: UUID) -> RunOutcome | None:
        async with as_service(organization_id):
            return await self._agent.run_outcome(run_id)
