"""Tables of the agent service."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKeyConstraint, Index, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.data.database import TableKind, TenantMixin, Timestamps, Versioned, service_metadata

JSON = dict[str, Any]


class Base(DeclarativeBase):
    """All tables of this schema."""

    metadata = service_metadata("agent")
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: DateTime(timezone=True),
        JSON: JSONB,
        list[JSON]: JSONB,
    }


class Agent(TenantMixin, Timestamps, Versioned, Base):
    """An agent with its draft. `definition` is domain.definition.Definition in JSON."""

    __tablename__ = "agents"
    __table_args__ = (Index("ix_agents_create_time", "organization_id", "create_time", "id"),)

    display_name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    definition: Mapped[JSON]
    # The latest version; 0 before the first publication.
    published_version: Mapped[int] = mapped_column(default=0)
    # Typed id of who created it.
    creator: Mapped[str]


# Unique without case: the check in the use case gives the clear error, this gives the guarantee.
Index("uq_agents_display_name", Agent.organization_id, func.lower(Agent.display_name), unique=True)


class AgentVersion(TenantMixin, Base):
    """A definition as it was published; never changed."""

    __tablename__ = "agent_versions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "agent_id"], ["agent.agents.organization_id", "agent.agents.id"], ondelete="CASCADE"
        ),
        Index("uq_agent_versions_version", "organization_id", "agent_id", "version", unique=True),
    )

    agent_id: Mapped[UUID]
    version: Mapped[int]
    definition: Mapped[JSON]
    note: Mapped[str] = mapped_column(default="")
    creator: Mapped[str]
    create_time: Mapped[datetime]


class Run(TenantMixin, Base):
    """A run: what it was given, where it is, what came of it. Belongs to `owner_id` and `end_user` ("" without one)."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_owner", "organization_id", "owner_id", "end_user", "create_time", "id"),
        Index("ix_runs_create_time", "organization_id", "create_time", "id"),
    )

    owner_id: Mapped[UUID]
    end_user: Mapped[str] = mapped_column(default="")
    # On whose behalf it runs: a typed id and a kind, as chassis.rpc.caller.Actor has them.
    actor_subject: Mapped[str]
    actor_kind: Mapped[str]
    # No foreign key: a run outlives its agent.
    agent_id: Mapped[UUID | None]
    agent_version: Mapped[int] = mapped_column(default=0)
    model: Mapped[str]
    definition: Mapped[JSON]
    history: Mapped[list[JSON]]
    input: Mapped[str]
    conversation_id: Mapped[UUID | None]
    message_id: Mapped[UUID | None]
    state: Mapped[str]
    required_action: Mapped[JSON | None] = mapped_column(JSONB(none_as_null=True))
    output_text: Mapped[str] = mapped_column(default="")
    citations: Mapped[list[JSON]]
    error_reason: Mapped[str] = mapped_column(default="")
    error_message: Mapped[str] = mapped_column(default="")
    input_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    output_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    cost_nano_usd: Mapped[int] = mapped_column(BigInteger, default=0)
    step_count: Mapped[int] = mapped_column(default=0)
    create_time: Mapped[datetime]
    start_time: Mapped[datetime | None]
    # When the time limit ends the run; moved by the time spent waiting for a person.
    deadline_time: Mapped[datetime | None]
    wait_time: Mapped[datetime | None]
    end_time: Mapped[datetime | None]


class RunStep(Base):
    """A step: intent before it is taken, outcome after. See domain.steps.Step for what input and output hold."""

    __tablename__ = "run_steps"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "run_id"], ["agent.runs.organization_id", "agent.runs.id"], ondelete="CASCADE"
        ),
    )

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    # Position in the run, from 1. Named `id` nowhere: a step has no id of its own.
    step: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    call_id: Mapped[str]
    attempt: Mapped[int]
    state: Mapped[str]
    input: Mapped[JSON]
    output: Mapped[JSON]
    question: Mapped[str]
    decision: Mapped[str]
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cost_nano_usd: Mapped[int] = mapped_column(BigInteger)
    error_reason: Mapped[str]
    start_time: Mapped[datetime]
    end_time: Mapped[datetime | None]


class RunEvent(Base):
    """An entry of a run's journal; seq from 1 without gaps. Appended by who holds the run's lease, never changed."""

    __tablename__ = "run_events"
    __table_kind__ = TableKind.TENANT

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    type: Mapped[str]
    data: Mapped[JSON]
    time: Mapped[datetime]


class RunLease(Base):
    """A run that has not ended, and who holds it. No content: the machinery role sees the leases of everyone."""

    __tablename__ = "run_leases"
    __table_kind__ = TableKind.TENANT

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    # Counts the claims; what a worker writes under an older epoch is refused.
    epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    worker: Mapped[str] = mapped_column(default="")
    lease_until: Mapped[datetime | None]
    # Whether it waits for a worker, or has one; false while it waits for a person.
    wanted: Mapped[bool] = mapped_column(default=True)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    create_time: Mapped[datetime]
