"""Sending a message: commit it with its answer's placeholder, then start the run."""

from uuid import UUID

from chassis.data.unit_of_work import Acquire
from chassis.errors import DeadlineExceeded, FleetError, Unavailable
from chassis.rpc.caller import Actor
from chassis.rpc.client import acting_for
from conversation.application import messages
from conversation.domain import states
from conversation.domain.errors import RUN_NOT_STARTED
from conversation.domain.history import HistoryLimits, Turn, trim
from conversation.domain.ports import Agent, RunOutcome, RunRequest
from conversation.models import Message
from conversation.unit_of_work import ConversationUnitOfWork

_LATER = (Unavailable.code, DeadlineExceeded.code)


class StartAnswer:
    """Start the run of an answer; safe to repeat, since agent knows runs by the id that was minted with the answer."""

    def __init__(self, acquire: Acquire[ConversationUnitOfWork], agent: Agent, limits: HistoryLimits) -> None:
        self._acquire = acquire
        self._agent = agent
        self._limits = limits

    async def prepare(self, work: ConversationUnitOfWork, answer: Message) -> RunRequest | None:
        """Return the run to start for an answer, or None when there is nothing to start any more."""
        conversation = await work.conversations.get(answer.conversation_id)
        if conversation is None or answer.run_id is None or answer.state != states.IN_PROGRESS:
            return None
        *earlier, question = await work.messages.before(answer, limit=self._limits.messages + 1)
        turns = [Turn(role=message.role.lower(), text=message.content) for message in earlier if message.content]
        return RunRequest(
            run_id=answer.run_id,
            message_id=answer.id,
            conversation_id=conversation.id,
            agent_id=conversation.agent_id,
            model=conversation.model,
            history=trim(turns, self._limits),
            input=question.content,
        )

    async def start(self, request: RunRequest, *, organization_id: UUID, actor: Actor) -> None:
        """Ask agent for the run on behalf of the actor. Raises what agent raises."""
        async with acting_for(organization_id, actor):
            await self._agent.start_run(request)

    async def give_up(self, work: ConversationUnitOfWork, run_id: UUID, error: Exception) -> None:
        """Make an answer FAILED whose run cannot be started, with agent's reason where it has one."""
        reason = error.reason if isinstance(error, FleetError) else RUN_NOT_STARTED
        await messages.record_outcome(work, run_id, RunOutcome(state=states.FAILED, error_reason=reason))


class SendMessage:
    """Commit a message and begin its answer; when agent is away the job starts the run later."""

    def __init__(self, acquire: Acquire[ConversationUnitOfWork], start: StartAnswer) -> None:
        self._acquire = acquire
        self._start = start

    async def __call__(self, *, conversation_id: UUID, content: str) -> tuple[Message, Message]:
        """Return the message and its answer's placeholder.

        Raises ConversationNotFound, ConversationArchived, AnswerInProgress, and what agent raises when the run cannot
        be made: then the answer is stored as FAILED with agent's reason.
        """
        async with self._acquire() as work:
            message, answer = await messages.begin(work, conversation_id=conversation_id, content=content)
            request = await self._start.prepare(work, answer)
        if request is not None:
            await self._start_or_leave_to_job(request, organization_id=work.organization_id, actor=work.actor)
        return message, answer

    async def _start_or_leave_to_job(self, request: RunRequest, *, organization_id: UUID, actor: Actor) -> None:
        try:
            await self._start.start(request, organization_id=organization_id, actor=actor)
        except FleetError as error:
            if error.code in _LATER:
                return
            async with self._acquire() as work:
                await self._start.give_up(work, request.run_id, error)
            raise
