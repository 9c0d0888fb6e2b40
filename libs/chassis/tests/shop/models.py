"""Tables of the shop: one of each kind."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import DateTime, Index, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.data.database import TableKind, TenantMixin, Timestamps, Versioned, service_metadata


class Base(DeclarativeBase):
    metadata = service_metadata("shop")


class Article(TenantMixin, Timestamps, Versioned, Base):
    __tablename__ = "articles"
    __table_args__ = (Index("uq_articles_name", "organization_id", text("lower(name)"), unique=True),)

    name: Mapped[str]
    price: Mapped[int] = mapped_column(default=0)
    sold_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Preference(Base):
    __tablename__ = "preferences"
    __table_kind__: ClassVar[TableKind] = TableKind.USER

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    colour: Mapped[str]


class Currency(Base):
    __tablename__ = "currencies"
    __table_kind__: ClassVar[TableKind] = TableKind.GLOBAL
    __global_reason__: ClassVar[str] = "the same for everybody"

    code: Mapped[str] = mapped_column(primary_key=True)
