"""Stopping an answer."""

from uuid import UUID

from chassis.data.unit_of_work import Acquire
from conversation.application import messages
from conversation.domain import ids, states
from conversation.domain.errors import AnswerNotInProgress
from conversation.domain.ports import Agent
from conversation.models import Message
from conversation.unit_of_work import ConversationUnitOfWork
from definable.conversation.v1.events_pb2 import AnswerStopped


class StopMessage:
    """Cancel the run of an answer in progress."""

    def __init__(self, acquire: Acquire[ConversationUnitOfWork], agent: Agent) -> None:
        self._acquire = acquire
        self._agent = agent

    async def __call__(self, message_id: UUID) -> Message:
        """Ask agent to cancel, and return the message as it stands; its final state comes with the end of the run.

        Raises MessageNotFound and AnswerNotInProgress.
        """
        async with self._acquire() as work:
            message = await messages.get(work, message_id)
            if message.state not in states.OPEN_STATES or message.run_id is None:
                raise AnswerNotInProgress(id=ids.MESSAGE.show(message_id))
            self._announce(work, message)
        await self._agent.cancel_run(message.run_id)
        return message

    def _announce(self, work: ConversationUnitOfWork, message: Message) -> None:
        target = ids.MESSAGE.show(message.id)
        work.outbox.add(
            AnswerStopped(conversation_id=ids.CONVERSATION.show(message.conversation_id), message_id=target),
            target=target,
        )
