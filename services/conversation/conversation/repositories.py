"""All SQL of the conversation service, scoped to one organization."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, func, select

from chassis.data.pagination import Page
from chassis.data.repository import Repository
from conversation.domain.states import OPEN_STATES
from conversation.domain.visibility import Owner
from conversation.models import Conversation, Message


class ConversationRepository(Repository[Conversation]):
    """Conversations of the organization."""

    model = Conversation

    def _owned(self, owner: Owner) -> Select[Conversation]:
        return self.query().where(Conversation.owner_id == owner.principal_id, Conversation.end_user == owner.end_user)

    async def owned(self, conversation_id: UUID, owner: Owner) -> Conversation | None:
        """Return the conversation when it is the owner's."""
        return await self.first(self._owned(owner).where(Conversation.id == conversation_id))

    async def lock_owned(self, conversation_id: UUID, owner: Owner) -> Conversation | None:
        """Return the owner's conversation and hold its row until the unit ends, so that positions of messages stay
        dense.
        """
        return await self.first(self._owned(owner).where(Conversation.id == conversation_id).with_for_update())

    async def page_of(
        self, owner: Owner, *, archived: bool, agent_id: UUID | None, page_size: int, page_token: str
    ) -> Page[Conversation]:
        """Return a page of the owner's conversations, the one with the latest message first."""
        statement = self._owned(owner).where(Conversation.archived == archived)
        if agent_id is not None:
            statement = statement.where(Conversation.agent_id == agent_id)
        return await self.page(
            statement,
            order=[(Conversation.last_message_time, "desc"), (Conversation.id, "desc")],
            page_size=page_size,
            page_token=page_token,
            filter_key=f"conversations:{owner.principal_id}:{owner.end_user}:{archived}:{agent_id}",
        )


class MessageRepository(Repository[Message]):
    """Messages of the organization. Whose they are is their conversation's business: ask that first."""

    model = Message

    async def of_run(self, run_id: UUID) -> Message | None:
        """Return the answer that a run fills, held until the unit ends."""
        return await self.first(self.query().where(Message.run_id == run_id).with_for_update())

    async def open_answer(self, conversation_id: UUID) -> Message | None:
        """Return the answer of the conversation that is not final yet."""
        return await self.first(
            self.query().where(Message.conversation_id == conversation_id, Message.state.in_(OPEN_STATES)).limit(1)
        )

    async def before(self, message: Message, *, limit: int) -> Sequence[Message]:
        """Return up to `limit` messages of the same conversation that came before, oldest first."""
        statement = (
            self.query()
            .where(Message.conversation_id == message.conversation_id, Message.position < message.position)
            .order_by(Message.position.desc())
            .limit(limit)
        )
        return list(reversed(await self.all(statement)))

    async def count_of(self, conversation_id: UUID) -> int:
        """Count the messages of a conversation."""
        statement = select(func.count()).select_from(
            self.query().where(Message.conversation_id == conversation_id).subquery()
        )
        return (await self.session.execute(statement)).scalar_one()

    async def page_of(self, conversation_id: UUID, *, page_size: int, page_token: str) -> Page[Message]:
        """Return a page of a conversation's messages, oldest first."""
        return await self.page(
            self.query().where(Message.conversation_id == conversation_id),
            order=[(Message.position, "asc")],
            page_size=page_size,
            page_token=page_token,
            filter_key=f"messages:{conversation_id}",
        )
