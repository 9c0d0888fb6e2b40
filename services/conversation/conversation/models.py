"""Tables of the conversation service."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, ForeignKeyConstraint, Index, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.data.database import TableKind, TenantMixin, Timestamps, Versioned, service_metadata


class Base(DeclarativeBase):
    """All tables of this schema."""

    metadata = service_metadata("conversation")
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True)}


class Conversation(TenantMixin, Timestamps, Versioned, Base):
    """What a person and an agent said to each other; belongs to `owner_id` (and `end_user`, "" without one)."""

    __tablename__ = "conversations"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (
        Index(
            "ix_conversations_owner", "organization_id", "owner_id", "end_user", "archived", "last_message_time", "id"
        ),
    )

    owner_id: Mapped[UUID]
    end_user: Mapped[str] = mapped_column(Text, default="")
    title: Mapped[str] = mapped_column(Text, default="")
    agent_id: Mapped[UUID | None]
    model: Mapped[str] = mapped_column(Text, default="")
    archived: Mapped[bool] = mapped_column(default=False)
    message_count: Mapped[int] = mapped_column(default=0)
    # Orders the list; the time of creation until there is a message.
    last_message_time: Mapped[datetime]


class Message(TenantMixin, Base):
    """Something said. An answer is a row from the moment its run is minted, IN_PROGRESS until the run has ended."""

    __tablename__ = "messages"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "conversation_id"],
            ["conversation.conversations.organization_id", "conversation.conversations.id"],
            ondelete="CASCADE",
        ),
        Index("uq_messages_position", "organization_id", "conversation_id", "position", unique=True),
        Index("ix_messages_run", "organization_id", "run_id"),
    )

    conversation_id: Mapped[UUID]
    # From 1, without gaps within a conversation.
    position: Mapped[int]
    role: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text, default="")
    # Citations as definable.agent.v1.Citation in JSON, in order of their first mention.
    citations: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    run_id: Mapped[UUID | None]
    error_reason: Mapped[str] = mapped_column(Text, default="")
    create_time: Mapped[datetime]
    complete_time: Mapped[datetime | None]
