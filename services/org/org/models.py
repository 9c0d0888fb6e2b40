"""The tables of org."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKeyConstraint, Index, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.data.database import TableKind, TenantMixin, Timestamps, Versioned, service_metadata

Json = dict[str, Any]  # a JSON object: the fields of an event, whose types its message declares


class Base(DeclarativeBase):
    """What all tables of org share."""

    metadata = service_metadata("org")
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: DateTime(timezone=True),
        Json: JSONB,
    }


class Organization(Timestamps, Versioned, Base):
    """A tenant. Its row is also the lock under which its members change."""

    __tablename__ = "organizations"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (Index("uq_organizations_slug", "slug", unique=True),)

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    display_name: Mapped[str]
    slug: Mapped[str]
    provisioned_for: Mapped[UUID]  # the first owner, who makes a repeated provision recognizable

    @property
    def id(self) -> UUID:
        """The organization's id, by the name that every other row has it."""
        return self.organization_id


class Member(TenantMixin, Timestamps, Versioned, Base):
    """A user's place in an organization; `id` is the user's id."""

    __tablename__ = "members"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (
        Index("ix_members_organization_id_role", "organization_id", "role"),
        Index("ix_members_organization_id_create_time", "organization_id", "create_time", "id"),
        ForeignKeyConstraint(
            ["organization_id"], ["org.organizations.organization_id"], name="fk_members_organization_id"
        ),
        Index("ix_members_id", "id"),  # for memberships_of_current_user(), which looks across organizations
    )

    role: Mapped[str]
    rank: Mapped[int] = mapped_column(Integer)
    change_number: Mapped[int] = mapped_column(BigInteger)  # rises also when the user leaves and comes back


class FeedHead(Base):
    """The newest sequence of an organization's feed. Its row serializes the feed."""

    __tablename__ = "feed_heads"
    __table_kind__ = TableKind.TENANT

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    last_sequence: Mapped[int] = mapped_column(BigInteger)


class FeedEntry(Base):
    """One event in an organization's order, kept 7 days."""

    __tablename__ = "feed_entries"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (Index("ix_feed_entries_record_time", "record_time"),)

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[UUID]
    subject: Mapped[str]
    time: Mapped[datetime]
    record_time: Mapped[datetime]
    actor: Mapped[str]
    principal_id: Mapped[UUID | None]
    target: Mapped[str]
    data: Mapped[Json]


class AuditEntry(TenantMixin, Base):
    """A change or a refused access; `id` is the event's id. The app role may insert and read, nothing else."""

    __tablename__ = "audit_entries"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (
        Index("ix_audit_entries_organization_id_time", "organization_id", "time", "id"),
        Index("ix_audit_entries_organization_id_target", "organization_id", "target", "time"),
        Index("ix_audit_entries_organization_id_actor", "organization_id", "actor", "time"),
    )

    time: Mapped[datetime]
    actor: Mapped[str]
    actor_kind: Mapped[str]
    subject: Mapped[str]
    target: Mapped[str]
    before_digest: Mapped[str]
    after_digest: Mapped[str]
    client_address: Mapped[str]
    request_id: Mapped[str]
    data: Mapped[Json]


class JobView(TenantMixin, Base):
    """What was last heard about a job of any service."""

    __tablename__ = "job_views"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (
        Index("ix_job_views_organization_id_create_time", "organization_id", "create_time", "id"),
        Index("ix_job_views_end_time", "end_time"),
    )

    service: Mapped[str]
    kind: Mapped[str]
    state: Mapped[str]
    target: Mapped[str]
    attempt: Mapped[int] = mapped_column(Integer)
    progress_done: Mapped[int] = mapped_column(BigInteger)
    progress_total: Mapped[int] = mapped_column(BigInteger)
    progress_note: Mapped[str]
    error_reason: Mapped[str]
    error_message: Mapped[str]
    create_time: Mapped[datetime]
    start_time: Mapped[datetime | None]
    end_time: Mapped[datetime | None]
    revision: Mapped[int] = mapped_column(BigInteger)  # of the latest event; the owner raises it with each


class BudgetReservation(TenantMixin, Base):
    """Money set aside; `id` is the reservation's id, chosen by its caller."""

    __tablename__ = "budget_reservations"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (Index("ix_budget_reservations_expire_time", "expire_time"),)

    state: Mapped[str]  # HELD, SETTLED or EXPIRED
    principal: Mapped[str]
    agent_id: Mapped[str]
    granted_nano_usd: Mapped[int] = mapped_column(BigInteger)
    actual_nano_usd: Mapped[int | None] = mapped_column(BigInteger)
    create_time: Mapped[datetime]
    expire_time: Mapped[datetime]
    settle_time: Mapped[datetime | None]


class UsageRecord(TenantMixin, Base):
    """What one run or one embedding took; `id` is the event's id."""

    __tablename__ = "usage_records"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (Index("ix_usage_records_organization_id_time", "organization_id", "time"),)

    time: Mapped[datetime]
    model: Mapped[str]
    agent_id: Mapped[str]
    user_id: Mapped[str]
    key_id: Mapped[str]
    runs: Mapped[int] = mapped_column(BigInteger)
    steps: Mapped[int] = mapped_column(BigInteger)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    embedding_tokens: Mapped[int] = mapped_column(BigInteger)
    cost_nano_usd: Mapped[int] = mapped_column(BigInteger)
