"""Tables of the tool service."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, ForeignKeyConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.data.database import TableKind, TenantMixin, Timestamps, Versioned, service_metadata


class Base(DeclarativeBase):
    """All tables of this schema."""

    metadata = service_metadata("tool")
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True)}


class Tool(TenantMixin, Timestamps, Versioned, Base):
    """A tool of an organization in its latest version. Built-in tools are code, not rows."""

    __tablename__ = "tools"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (Index("uq_tools_name", "organization_id", text("lower(name)"), unique=True),)

    name: Mapped[str] = mapped_column(Text)
    disabled: Mapped[bool] = mapped_column(default=False)
    # From 1; rises when `definition` changes.
    version: Mapped[int] = mapped_column(default=1)
    # ToolDefinition.to_json of the latest version.
    definition: Mapped[dict[str, Any]] = mapped_column(JSONB)


class ToolVersion(TenantMixin, Base):
    """A version of a tool, never changed; runs that were given it keep it."""

    __tablename__ = "tool_versions"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "tool_id"], ["tool.tools.organization_id", "tool.tools.id"], ondelete="CASCADE"
        ),
        Index("uq_tool_versions_version", "organization_id", "tool_id", "version", unique=True),
    )

    tool_id: Mapped[UUID]
    version: Mapped[int]
    definition: Mapped[dict[str, Any]] = mapped_column(JSONB)
    create_time: Mapped[datetime]


class Execution(TenantMixin, Base):
    """One execution. It is stored RUNNING before it begins; one that stays so died in the middle."""

    __tablename__ = "executions"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (
        Index(
            "uq_executions_call",
            "organization_id",
            "run_id",
            "call_id",
            unique=True,
            postgresql_where=text("run_id IS NOT NULL"),
        ),
        Index("ix_executions_time", "organization_id", "create_time", "id"),
        Index("ix_executions_tool", "organization_id", "tool_id", "create_time", "id"),
    )

    tool_id: Mapped[UUID]
    tool_name: Mapped[str] = mapped_column(Text)
    tool_version: Mapped[int]
    run_id: Mapped[UUID | None]
    call_id: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(Text)
    arguments: Mapped[dict[str, Any]] = mapped_column(JSONB)
    # Any JSON; NULL until there is one.
    output: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    is_error: Mapped[bool] = mapped_column(default=False)
    error_reason: Mapped[str] = mapped_column(Text, default="")
    error_message: Mapped[str] = mapped_column(Text, default="")
    duration_ms: Mapped[int | None]
    create_time: Mapped[datetime]
