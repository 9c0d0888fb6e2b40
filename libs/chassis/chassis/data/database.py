"""Engines of one service, one a role, and what every table of it has in common."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol
from uuid import UUID

import asyncpg
from sqlalchemy import URL, DateTime, MetaData, func, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from chassis.errors import DependencyUnavailable, EtagMismatch
from chassis.rpc.caller import call_or_none
from chassis.settings import DatabaseSettings

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MS = 30_000
MACHINERY_POOL_SIZE = 4


class TableKind(StrEnum):
    """Who may see the rows of a table; row-level security follows it."""

    TENANT = "tenant"
    USER = "user"
    GLOBAL = "global"


class RoleTooPowerful(RuntimeError):
    """A role of the service could pass row-level security."""


def service_metadata(schema: str) -> MetaData:
    """Return metadata for the models of a service: its schema, and names for constraints that migrations can repeat."""
    return MetaData(schema=schema, naming_convention=NAMING)


def role_name(service: str, role: str) -> str:
    """Return the database role of a service: `owner`, `app` or `machinery`."""
    return f"{service}_{role}"


class Database:
    """The two engines of a process: `app` serves callers, `machinery` moves outbox, jobs and leases.

    Neither connects before its first use. `schema` is the name of the service.
    """

    def __init__(self, settings: DatabaseSettings, *, service: str) -> None:
        self.settings = settings
        self.service = service
        self.schema = service
        self.app = self._engine("app", pool_size=settings.pool_size)
        self.machinery = self._engine("machinery", pool_size=MACHINERY_POOL_SIZE)

    def derived_key(self, purpose: str) -> bytes:
        """Return 32 secret bytes that all replicas share and that the server itself does not store."""
        return hmac.digest(self.settings.app_password.get_secret_value().encode(), purpose.encode(), "sha256")

    async def ping(self) -> None:
        """Return when the server answers both roles; raise DependencyUnavailable otherwise."""
        for engine in (self.app, self.machinery):
            async with unavailable_as_error(), engine.connect() as connection:
                await connection.execute(text("SELECT 1"))

    async def check_roles(self) -> None:
        """Raise RoleTooPowerful when a role is superuser or has BYPASSRLS, under which no policy would hold."""
        query = text("SELECT rolname FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)")
        for engine in (self.app, self.machinery):
            async with unavailable_as_error(), engine.connect() as connection:
                powerful = await connection.scalar(query)
            if powerful:
                raise RoleTooPowerful(f"the database role {powerful} must be neither superuser nor BYPASSRLS")

    async def close(self) -> None:
        """Close the pools."""
        await self.app.dispose()
        await self.machinery.dispose()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """Open a connection of the machinery role outside the pool, for LISTEN."""
        connection = await asyncpg.connect(
            host=self.settings.host,
            port=self.settings.port,
            database=self.settings.name,
            user=role_name(self.service, "machinery"),
            password=self.settings.machinery_password.get_secret_value(),
            timeout=CONNECT_TIMEOUT_SECONDS,
        )
        try:
            yield connection
        finally:
            await connection.close(timeout=1)

    def _engine(self, role: str, *, pool_size: int) -> AsyncEngine:
        password = {"app": self.settings.app_password, "machinery": self.settings.machinery_password}[role]
        return create_async_engine(
            engine_url(self.settings, role_name(self.service, role), password.get_secret_value()),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=CONNECT_TIMEOUT_SECONDS,
            pool_pre_ping=False,
            connect_args={
                "timeout": CONNECT_TIMEOUT_SECONDS,
                "server_settings": {
                    "search_path": f"{self.schema},public",
                    "application_name": f"{self.service}:{role}",
                    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                    "timezone": "UTC",
                },
            },
        )


def engine_url(settings: DatabaseSettings, user: str, password: str) -> URL:
    """Return the address of the service's database for one role."""
    return URL.create(
        "postgresql+asyncpg",
        username=user,
        password=password,
        host=settings.host,
        port=settings.port,
        database=settings.name,
    )


@asynccontextmanager
async def unavailable_as_error() -> AsyncIterator[None]:
    """Turn a lost or refused connection into DependencyUnavailable; everything else passes."""
    try:
        yield
    except DBAPIError as error:
        if not is_connection_loss(error):
            raise
        raise DependencyUnavailable(dependency="postgres") from error
    except (ConnectionError, PoolTimeout, TimeoutError, asyncpg.CannotConnectNowError) as error:
        raise DependencyUnavailable(dependency="postgres") from error
    except asyncpg.PostgresConnectionError as error:
        raise DependencyUnavailable(dependency="postgres") from error


def is_connection_loss(error: DBAPIError) -> bool:
    """Tell whether a driver error means that the server is away, not that the statement was wrong."""
    if error.connection_invalidated:
        return True
    lost = (asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError, OSError)
    lost_interface = isinstance(error, InterfaceError | OperationalError) and "closed" in str(error.orig)
    return isinstance(_driver_error(error), lost) or lost_interface


def violated_constraint(error: DBAPIError) -> str:
    """Return the name of the constraint that a statement broke, empty when it was another error."""
    return str(getattr(_driver_error(error), "constraint_name", None) or "")


def _driver_error(error: DBAPIError) -> BaseException | None:
    # SQLAlchemy wraps asyncpg's exception into one of its adapter, which keeps the original as its cause.
    return error.orig.__cause__ if error.orig is not None else None


class TenantMixin:
    """Key of a tenant's row: the organization leads. The repository fills it in."""

    __table_kind__: ClassVar[TableKind] = TableKind.TENANT

    organization_id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-20)
    id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-19)


class Timestamps:
    """When a row was made and last changed; UTC. The database's clock unless the use case sets its own."""

    create_time: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), sort_order=90)
    update_time: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now(), sort_order=91
    )


class Versioned:
    """Counts the changes of a row, so that two writers cannot overwrite each other unseen."""

    revision: Mapped[int] = mapped_column(nullable=False, sort_order=92)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:  # Any: SQLAlchemy's mapping of options
        return {"version_id_col": cls.revision}


class Revised(Protocol):
    """A row with an id and a revision."""

    @property
    def id(self) -> Any: ...  # Any: a mapped attribute is a descriptor, which no protocol can name

    @property
    def revision(self) -> Any: ...


def etag(row: Revised) -> str:
    """Return an opaque tag that changes with each revision of the row."""
    return hashlib.sha256(f"{row.id}:{row.revision}".encode()).hexdigest()[:20]


def check_etag(row: Revised, if_match: str | None = None) -> None:
    """Raise EtagMismatch unless the row is the one the caller read.

    Without `if_match` the header of the current call is used; without either, or with `*`, everything matches.
    """
    call = call_or_none()
    expected = if_match if if_match is not None else call.if_match if call else ""
    if expected and expected != "*" and expected.removeprefix("W/").strip('"') != etag(row):
        raise EtagMismatch
