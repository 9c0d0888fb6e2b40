"""Use cases of messages that need only the database."""

from uuid import UUID

from chassis.data.pagination import Page
from conversation.application import conversations
from conversation.domain import ids, states
from conversation.domain.errors import AnswerInProgress, ConversationArchived, ConversationNotFound, MessageNotFound
from conversation.domain.jobs import START_RUN, START_RUN_DELAY
from conversation.domain.ports import RunOutcome
from conversation.domain.titles import from_first_message
from conversation.models import Conversation, Message
from conversation.unit_of_work import ConversationUnitOfWork
from definable.conversation.v1.events_pb2 import MessageAnswered, MessageSent


async def begin(work: ConversationUnitOfWork, *, conversation_id: UUID, content: str) -> tuple[Message, Message]:
    """Store a message, the placeholder of its answer and the job that starts the run; the run's id is minted here.

    Raises ConversationNotFound, ConversationArchived and AnswerInProgress.
    """
    conversation = await work.conversations.lock_owned(conversation_id, work.owner)
    if conversation is None:
        raise ConversationNotFound(id=ids.CONVERSATION.show(conversation_id))
    if conversation.archived:
        raise ConversationArchived(id=ids.CONVERSATION.show(conversation_id))
    if await work.messages.open_answer(conversation_id) is not None:
        raise AnswerInProgress(id=ids.CONVERSATION.show(conversation_id))
    message = _add(work, conversation, role=states.USER, state=states.COMPLETED, content=content)
    answer = _add(work, conversation, role=states.ASSISTANT, state=states.IN_PROGRESS, run_id=work.new_id())
    conversation.last_message_time = conversation.update_time = work.now()
    conversation.title = conversation.title or from_first_message(content)
    work.jobs.enqueue(
        START_RUN,
        {"message_id": str(answer.id)},
        target=ids.MESSAGE.show(answer.id),
        run_after=work.now() + START_RUN_DELAY,
    )
    _announce_sent(work, message, answer)
    await work.session.flush()
    return message, answer


def _add(
    work: ConversationUnitOfWork,
    conversation: Conversation,
    *,
    role: str,
    state: str,
    content: str = "",
    run_id: UUID | None = None,
) -> Message:
    conversation.message_count += 1
    message = Message(
        organization_id=work.organization_id,
        id=work.new_id(),
        conversation_id=conversation.id,
        position=conversation.message_count,
        role=role,
        state=state,
        content=content,
        citations=[],
        run_id=run_id,
        error_reason="",
        create_time=work.now(),
        complete_time=work.now() if state == states.COMPLETED else None,
    )
    work.messages.add(message)
    return message


def _announce_sent(work: ConversationUnitOfWork, message: Message, answer: Message) -> None:
    work.outbox.add(
        MessageSent(
            conversation_id=ids.CONVERSATION.show(message.conversation_id),
            message_id=ids.MESSAGE.show(message.id),
            answer_id=ids.MESSAGE.show(answer.id),
            run_id=ids.RUN.show(answer.run_id) if answer.run_id else "",
        ),
        target=ids.MESSAGE.show(message.id),
    )


async def get(work: ConversationUnitOfWork, message_id: UUID, *, sees_all: bool = False) -> Message:
    """Return a message of the caller's conversations, or anybody's to one who `sees_all`. Raises MessageNotFound."""
    message = await work.messages.get(message_id)
    if message is not None:
        try:
            await conversations.get(work, message.conversation_id, sees_all=sees_all)
        except ConversationNotFound:
            message = None
    if message is None:
        raise MessageNotFound(id=ids.MESSAGE.show(message_id))
    return message


async def list_of(
    work: ConversationUnitOfWork, conversation_id: UUID, *, page_size: int, page_token: str, sees_all: bool = False
) -> Page[Message]:
    """Return a page of a conversation's messages, oldest first. Raises ConversationNotFound."""
    await conversations.get(work, conversation_id, sees_all=sees_all)
    return await work.messages.page_of(conversation_id, page_size=page_size, page_token=page_token)


async def record_outcome(work: ConversationUnitOfWork, run_id: UUID, outcome: RunOutcome) -> Message | None:
    """Store what a run has come to in its answer, once: a final answer is never changed again.

    Returns the answer, or None when its conversation was deleted meanwhile.
    """
    message = await work.messages.of_run(run_id)
    if message is None or message.state not in states.OPEN_STATES or outcome.state == message.state:
        return message
    message.state = outcome.state
    message.content = outcome.text
    message.citations = list(outcome.citations)
    message.error_reason = outcome.error_reason
    if outcome.state not in states.OPEN_STATES:
        message.complete_time = work.now()
        _announce_answered(work, message, run_id)
    await work.session.flush()
    return message


def _announce_answered(work: ConversationUnitOfWork, message: Message, run_id: UUID) -> None:
    target = ids.MESSAGE.show(message.id)
    work.outbox.add(
        MessageAnswered(
            conversation_id=ids.CONVERSATION.show(message.conversation_id),
            message_id=target,
            run_id=ids.RUN.show(run_id),
        ),
        target=target,
    )
