"""The tables of auth."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, Identity, Index, Integer, LargeBinary, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.data.database import TableKind, TenantMixin, Timestamps, Versioned, service_metadata

SCHEMA = "auth"


class Base(DeclarativeBase):
    """What the tables of auth share."""

    metadata = service_metadata(SCHEMA)
    type_annotation_map: ClassVar[dict[Any, Any]] = {  # types of Python to types of SQLAlchemy
        str: Text,
        datetime: DateTime(timezone=True),
        bytes: LargeBinary,
        list[str]: ARRAY(Text),
    }


class User(Versioned, Timestamps, Base):
    """A person. Visible to themselves only; others find one through functions that return one row."""

    __tablename__ = "users"
    __table_kind__ = TableKind.USER

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    email_key: Mapped[str] = mapped_column(unique=True)  # the address in lower case
    display_name: Mapped[str]
    password_hash: Mapped[str | None]  # None until the person sets one
    home_organization_id: Mapped[UUID | None]  # where a log-in starts
    home_organization_name: Mapped[str | None]
    provision_time: Mapped[datetime | None]  # when org confirmed the home organization


class Session(Base):
    """A log-in of a user, with any number of refresh families: one for each organization switched to."""

    __tablename__ = "sessions"
    __table_kind__ = TableKind.USER

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_address: Mapped[str]
    create_time: Mapped[datetime]
    end_time: Mapped[datetime | None]
    end_cause: Mapped[str | None]


class RefreshToken(Base):
    """One token of a family. Only its hash is kept."""

    __tablename__ = "refresh_tokens"
    __table_kind__ = TableKind.USER
    __table_args__ = (Index("ix_refresh_tokens_user_id_session_id", "user_id", "session_id"),)

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    session_id: Mapped[UUID]
    family_id: Mapped[UUID]  # the id of the family's first token
    organization_id: Mapped[UUID]
    secret_hash: Mapped[bytes] = mapped_column(unique=True)
    child_id: Mapped[UUID | None]
    create_time: Mapped[datetime]
    used_time: Mapped[datetime | None]
    expire_time: Mapped[datetime]


class ApiKey(Versioned, Timestamps, TenantMixin, Base):
    """A program's credential. The secret is kept as an HMAC."""

    __tablename__ = "api_keys"
    __table_kind__ = TableKind.TENANT
    __table_args__ = (
        Index("ix_api_keys_id", "id"),  # for noting use across organizations
        Index("ix_api_keys_organization_id_create_time_id", "organization_id", "create_time", "id"),
    )

    creator_id: Mapped[UUID]
    display_name: Mapped[str]
    public_id: Mapped[str] = mapped_column(unique=True)
    secret_hmac: Mapped[bytes]
    scopes: Mapped[list[str]]
    allowed_addresses: Mapped[list[str]]
    requests_per_minute: Mapped[int] = mapped_column(Integer)  # 0: the installation's default
    end_user: Mapped[str]  # empty: none
    expire_time: Mapped[datetime | None]
    last_used_time: Mapped[datetime | None]
    revoke_time: Mapped[datetime | None]


class MembershipAnswer(TenantMixin, Base):
    """What org last said about a user (whose id is the row's) in an organization; used while org is down."""

    __tablename__ = "membership_answers"
    __table_kind__ = TableKind.TENANT

    rank: Mapped[int] = mapped_column(Integer)
    grants: Mapped[list[str]]
    revision: Mapped[int] = mapped_column(BigInteger)
    answer_time: Mapped[datetime]


class IssuerKey(Base):
    """A secret of the issuer: signing keys of two sets, and the pepper of stored digests."""

    __tablename__ = "issuer_keys"
    __table_kind__ = TableKind.GLOBAL
    __global_reason__ = "The issuer is one for all organizations; private halves are encrypted."

    kid: Mapped[str] = mapped_column(primary_key=True)
    purpose: Mapped[str]
    public_key: Mapped[bytes]
    sealed_private_key: Mapped[bytes]
    create_time: Mapped[datetime]
    sign_from: Mapped[datetime]  # published before, so that verifiers know it when it signs
    retire_time: Mapped[datetime | None]  # published until then


class Revocation(Base):
    """Tokens that die before their time. Numbered in order of commit."""

    __tablename__ = "revocations"
    __table_kind__ = TableKind.GLOBAL
    __global_reason__ = "Every process of the fleet reads all of them."

    sequence: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    time: Mapped[datetime]
    create_time: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"), index=True)
    session_id: Mapped[UUID | None]
    api_key_id: Mapped[UUID | None]
    user_id: Mapped[UUID | None]
    organization_id: Mapped[UUID | None]


class Throttle(Base):
    """Attempts counted against one account or address."""

    __tablename__ = "throttles"
    __table_kind__ = TableKind.GLOBAL
    __global_reason__ = "Counts attempts of callers who are nobody yet; keys are hashes."

    key: Mapped[bytes] = mapped_column(primary_key=True)
    attempts: Mapped[int] = mapped_column(Integer)
    window_end: Mapped[datetime]


class UsedAssertion(Base):
    """Assertions of processes that were accepted once and won't be again."""

    __tablename__ = "used_assertions"
    __table_kind__ = TableKind.GLOBAL
    __global_reason__ = "Processes belong to no organization."

    jti: Mapped[str] = mapped_column(primary_key=True)
    expire_time: Mapped[datetime] = mapped_column(index=True)
