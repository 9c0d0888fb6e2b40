"""Use cases of conversations; each sees only what belongs to the caller."""

from uuid import UUID

from chassis.data.database import check_etag
from chassis.data.pagination import Page
from conversation.domain import ids
from conversation.domain.errors import AnswererInvalid, ConversationNotFound
from conversation.domain.jobs import CANCEL_RUN
from conversation.models import Conversation
from conversation.unit_of_work import ConversationUnitOfWork
from definable.conversation.v1.events_pb2 import ConversationCreated, ConversationDeleted, ConversationUpdated


async def create(work: ConversationUnitOfWork, *, title: str, agent_id: UUID | None, model: str) -> Conversation:
    """Create an empty conversation that belongs to the caller.

    Raises AnswererInvalid unless exactly one of `agent_id` and `model` is given.
    """
    if (agent_id is None) == (not model):
        raise AnswererInvalid
    conversation = Conversation(
        organization_id=work.organization_id,
        id=work.new_id(),
        owner_id=work.owner.principal_id,
        end_user=work.owner.end_user,
        title=title,
        agent_id=agent_id,
        model=model,
        create_time=work.now(),
        update_time=work.now(),
        last_message_time=work.now(),
    )
    work.conversations.add(conversation)
    await work.session.flush()
    target = ids.CONVERSATION.show(conversation.id)
    work.outbox.add(ConversationCreated(conversation_id=target), target=target, after=_digested(conversation))
    return conversation


async def get(work: ConversationUnitOfWork, conversation_id: UUID, *, sees_all: bool = False) -> Conversation:
    """Return the caller's conversation, or anybody's to one who `sees_all`. Raises ConversationNotFound."""
    if sees_all:
        conversation = await work.conversations.get(conversation_id)
    else:
        conversation = await work.conversations.owned(conversation_id, work.owner)
    if conversation is None:
        raise ConversationNotFound(id=ids.CONVERSATION.show(conversation_id))
    return conversation


async def list_own(
    work: ConversationUnitOfWork, *, archived: bool, agent_id: UUID | None, page_size: int, page_token: str
) -> Page[Conversation]:
    """Return a page of the caller's conversations, the one with the latest message first."""
    return await work.conversations.page_of(
        work.owner, archived=archived, agent_id=agent_id, page_size=page_size, page_token=page_token
    )


async def update(
    work: ConversationUnitOfWork, conversation_id: UUID, *, title: str | None = None, archived: bool | None = None
) -> Conversation:
    """Change what is given and keep the rest. Raises ConversationNotFound and, under If-Match, EtagMismatch."""
    conversation = await get(work, conversation_id)
    check_etag(conversation)
    before = _digested(conversation)
    if title is not None:
        conversation.title = title
    if archived is not None:
        conversation.archived = archived
    conversation.update_time = work.now()
    await work.session.flush()
    target = ids.CONVERSATION.show(conversation_id)
    work.outbox.add(
        ConversationUpdated(conversation_id=target),
        target=target,
        before=before,
        after=_digested(conversation),
        revision=conversation.revision,
    )
    return conversation


async def delete(work: ConversationUnitOfWork, conversation_id: UUID) -> None:
    """Delete a conversation with its messages; a job cancels the run of an answer in progress.

    Raises ConversationNotFound.
    """
    conversation = await work.conversations.lock_owned(conversation_id, work.owner)
    target = ids.CONVERSATION.show(conversation_id)
    if conversation is None:
        raise ConversationNotFound(id=target)
    check_etag(conversation)
    answer = await work.messages.open_answer(conversation_id)
    if answer is not None and answer.run_id is not None:
        work.jobs.enqueue(CANCEL_RUN, {"run_id": str(answer.run_id)}, target=target)
    work.outbox.add(ConversationDeleted(conversation_id=target), target=target, before=_digested(conversation))
    await work.conversations.delete(conversation)


def _digested(conversation: Conversation) -> dict[str, object]:
    """What an audit entry's digests are made of."""
    return {
        "title": conversation.title,
        "archived": conversation.archived,
        "agent_id": str(conversation.agent_id or ""),
        "model": conversation.model,
    }
