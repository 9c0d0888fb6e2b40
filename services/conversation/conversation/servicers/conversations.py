"""ConversationService: conversations of the caller."""

from typing import Any
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.data.unit_of_work import Acquire
from chassis.rpc.caller import current_caller
from chassis.rpc.masks import masked
from conversation import convert
from conversation.application import conversations
from conversation.domain import ids
from conversation.domain.visibility import READ_ALL
from conversation.unit_of_work import ConversationUnitOfWork
from definable.conversation.v1 import conversation_service_pb2 as pb
from definable.conversation.v1.conversation_service_pb2_grpc import ConversationServiceServicer
from definable.options.v1.options_pb2 import Rank


def sees_all() -> bool:
    """Tell whether the caller may read conversations of others in their organization."""
    return current_caller().may(READ_ALL, Rank.ADMIN)


def _agent(text: str) -> UUID | None:
    return ids.AGENT.parse(text, field="agent_id") if text else None


class Conversations(ConversationServiceServicer):
    """Serves conversations; whose they are is decided by the unit of work's owner."""

    def __init__(self, acquire: Acquire[ConversationUnitOfWork]) -> None:
        self._acquire = acquire

    async def CreateConversation(self, request: pb.CreateConversationRequest, context: Any) -> pb.Conversation:
        given = request.conversation
        async with self._acquire() as work:
            row = await conversations.create(
                work, title=given.title, agent_id=_agent(given.agent_id), model=given.model
            )
            return work.reply(convert.conversation(row))

    async def ListConversations(
        self, request: pb.ListConversationsRequest, context: Any
    ) -> pb.ListConversationsResponse:
        async with self._acquire() as work:
            page = await conversations.list_own(
                work,
                archived=request.archived,
                agent_id=_agent(request.agent_id),
                page_size=request.page_size,
                page_token=request.page_token,
            )
            return pb.ListConversationsResponse(
                conversations=[convert.conversation(row) for row in page.items], next_page_token=page.next_page_token
            )

    async def GetConversation(self, request: pb.GetConversationRequest, context: Any) -> pb.Conversation:
        async with self._acquire() as work:
            return convert.conversation(
                await conversations.get(work, ids.CONVERSATION.parse(request.id), sees_all=sees_all())
            )

    async def UpdateConversation(self, request: pb.UpdateConversationRequest, context: Any) -> pb.Conversation:
        changes = masked(request.conversation, request.update_mask, allowed=("title", "archived"))
        async with self._acquire() as work:
            row = await conversations.update(work, ids.CONVERSATION.parse(request.conversation.id), **changes)
            return work.reply(convert.conversation(row))

    async def DeleteConversation(self, request: pb.DeleteConversationRequest, context: Any) -> Empty:
        async with self._acquire() as work:
            await conversations.delete(work, ids.CONVERSATION.parse(request.id))
            return work.reply(Empty())
