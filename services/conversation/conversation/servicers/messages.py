"""MessageService: what is said in the caller's conversations."""

from typing import Any

from chassis.data.unit_of_work import Acquire
from conversation import convert
from conversation.application import messages
from conversation.application.answers import FinishAnswers
from conversation.application.sending import SendMessage
from conversation.application.stopping import StopMessage
from conversation.domain import ids
from conversation.servicers.conversations import sees_all
from conversation.unit_of_work import ConversationUnitOfWork
from definable.conversation.v1 import message_service_pb2 as pb
from definable.conversation.v1.message_service_pb2_grpc import MessageServiceServicer


class Messages(MessageServiceServicer):
    """Serves messages; sending and stopping ask agent between two units of work, reading asks it for answers still
    open.
    """

    def __init__(
        self, acquire: Acquire[ConversationUnitOfWork], send: SendMessage, stop: StopMessage, finish: FinishAnswers
    ) -> None:
        self._acquire = acquire
        self._send = send
        self._stop = stop
        self._finish = finish

    async def SendMessage(self, request: pb.SendMessageRequest, context: Any) -> pb.SendMessageResponse:
        message, answer = await self._send(
            conversation_id=ids.CONVERSATION.parse(request.conversation_id, field="conversation_id"),
            content=request.content,
        )
        shown = convert.message(answer)
        return pb.SendMessageResponse(message=convert.message(message), answer=shown, run_id=shown.run_id)

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Any) -> pb.ListMessagesResponse:
        conversation_id = ids.CONVERSATION.parse(request.conversation_id, field="conversation_id")
        async with self._acquire() as work:
            page = await messages.list_of(
                work, conversation_id, page_size=request.page_size, page_token=request.page_token, sees_all=sees_all()
            )
        found = await self._finish.refreshed(page.items)
        return pb.ListMessagesResponse(
            messages=[convert.message(row) for row in found], next_page_token=page.next_page_token
        )

    async def GetMessage(self, request: pb.GetMessageRequest, context: Any) -> pb.Message:
        async with self._acquire() as work:
            message = await messages.get(work, ids.MESSAGE.parse(request.id), sees_all=sees_all())
        [found] = await self._finish.refreshed([message])
        return convert.message(found)

    async def StopMessage(self, request: pb.StopMessageRequest, context: Any) -> pb.Message:
        return convert.message(await self._stop(ids.MESSAGE.parse(request.id)))
