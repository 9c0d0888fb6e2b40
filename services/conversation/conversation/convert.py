"""Rows as messages of the contract."""

from google.protobuf.json_format import ParseDict

from chassis.data.database import etag
from chassis.ids import USER
from chassis.rpc.times import timestamp
from conversation import models
from conversation.domain import ids
from definable.agent.v1.run_service_pb2 import Citation
from definable.conversation.v1.conversation_service_pb2 import Conversation
from definable.conversation.v1.message_service_pb2 import Message, MessageRole, MessageState


def conversation(row: models.Conversation) -> Conversation:
    """Return a conversation as it is shown."""
    return Conversation(
        id=ids.CONVERSATION.show(row.id),
        title=row.title,
        agent_id=ids.AGENT.show(row.agent_id) if row.agent_id else "",
        model=row.model,
        archived=row.archived,
        owner_id=USER.show(row.owner_id),
        end_user=row.end_user,
        message_count=row.message_count,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        etag=etag(row),
    )


def message(row: models.Message) -> Message:
    """Return a message as it is shown."""
    return Message(
        id=ids.MESSAGE.show(row.id),
        conversation_id=ids.CONVERSATION.show(row.conversation_id),
        role=MessageRole.Value(f"MESSAGE_ROLE_{row.role}"),
        state=MessageState.Value(f"MESSAGE_STATE_{row.state}"),
        content=row.content,
        citations=[ParseDict(citation, Citation(), ignore_unknown_fields=True) for citation in row.citations],
        run_id=ids.RUN.show(row.run_id) if row.run_id else "",
        error_reason=row.error_reason,
        create_time=timestamp(row.create_time),
        complete_time=timestamp(row.complete_time),
    )
