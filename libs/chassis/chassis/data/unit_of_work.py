"""Units of work: one transaction with a tenant, an actor, an outbox, a job queue and a clock.

class KbUnitOfWork(UnitOfWork):
    @cached_property
    def documents(self) -> DocumentRepository:
        return DocumentRepository(self.session, self.organization_id)

acquire = KbUnitOfWork.factory(database)
async with acquire() as work:
    ...  # committed on a clean exit, rolled back on an error
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Generic, TypeVar, cast
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from chassis import ids
from chassis.boundary import inside_unit_of_work
from chassis.crypto import Sealer
from chassis.data.database import Database, unavailable_as_error, violated_constraint
from chassis.data.idempotency import IdempotentReplay, KeyedCall, default_sealer
from chassis.data.repository import PAGE_SECRET
from chassis.data.tables import INBOX
from chassis.errors import EtagMismatch, FleetError
from chassis.messaging import job_queue, outbox
from chassis.messaging.events import Delivery
from chassis.messaging.job_queue import JobQueue
from chassis.messaging.outbox import Origin, Outbox
from chassis.rpc.caller import Actor, CallContext, call_or_none, current_caller

W = TypeVar("W", bound="UnitOfWork")
M = TypeVar("M", bound=Message)

NOBODY = Actor("", "")


class NoOrganization(RuntimeError):
    """A unit of work without an organization was asked for it: a programming error."""


class DuplicateDelivery(Exception):
    """The event has had its effect; whoever delivers it acknowledges and goes on."""


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom a unit of work is: what the policies of the database compare with."""

    organization_id: UUID | None = None
    user_id: UUID | None = None
    actor: Actor = NOBODY


class UnitOfWork:
    """A transaction in progress. Services subclass it and add their repositories."""

    constraint_errors: ClassVar[Mapping[str, type[FleetError]]] = {}
    """What the violation of a constraint means, by its name: the index guarantees what a check before it explains."""

    def __init__(self, session: AsyncSession, scope: Scope, origin: Origin, keyed: KeyedCall | None = None) -> None:
        self.session = session
        self.actor = scope.actor
        self.user_id = scope.user_id
        self.outbox = Outbox(origin)
        self.jobs = JobQueue(origin)
        self._organization_id = scope.organization_id
        self._now = origin.time
        self._keyed = keyed
        self._reply: Message | None = None

    @classmethod
    def factory(cls: type[W], database: Database, *, sealer: Sealer | None = None) -> Acquire[W]:
        """Return what opens units of this class.

        `sealer` protects stored replies that hold a secret; without one its key comes from the role's password.
        """
        return Acquire(cls, database, sealer or default_sealer(database))

    @property
    def organization_id(self) -> UUID:
        """The organization whose rows are seen. Raises NoOrganization in a unit without one."""
        if self._organization_id is None:
            raise NoOrganization(NoOrganization.__doc__)
        return self._organization_id

    def now(self) -> datetime:
        """Return when the transaction began, UTC, by the clock of the database; the same all through the unit."""
        return self._now

    def new_id(self) -> UUID:
        """Return a fresh UUIDv7."""
        return ids.new_id()

    def reply(self, message: M) -> M:
        """Return the message; in a call with an idempotency key it is also stored with this unit's commit."""
        self._reply = message
        return message

    async def lock(self, *parts: object) -> None:
        """Wait until no other unit holds the lock of this name; it is released with the transaction."""
        name = ":".join(str(part) for part in parts)
        await self.session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})

    async def finish(self) -> None:
        """Write what was collected; the commit follows. Called by Acquire."""
        await self.session.flush()
        for organization_id, jobs in self.jobs.take().items():
            async with self._under(organization_id):
                for job in await job_queue.write(self.session, jobs):
                    self.outbox.add(job.queued(), target=job.show(), organization_id=organization_id)
        for organization_id, rows in self.outbox.take().items():
            async with self._under(organization_id):
                await outbox.write(self.session, rows)
        if self._keyed is not None and self._reply is not None:
            async with self._under(self._keyed.organization_id):
                await self._keyed.store(self.session, self._reply)

    async def reserve_key(self) -> None:
        """Take the idempotency key of the call, if it has one. Called by Acquire before anything else."""
        if self._keyed is not None:
            async with self._under(self._keyed.organization_id):
                await self._keyed.reserve(self.session)

    async def receive(self, delivery: Delivery) -> None:
        """Record that this unit is the effect of an event. Raises DuplicateDelivery when another one was."""
        row = insert(INBOX).values(
            consumer=delivery.consumer, event_id=delivery.envelope.event_id, receive_time=self._now
        )
        result = await self.session.execute(row.on_conflict_do_nothing().returning(INBOX.c.event_id))
        if result.first() is None:
            raise DuplicateDelivery

    def committed(self, call: CallContext | None) -> None:
        """Tell the call what it need not do any more. Called by Acquire."""
        if call is not None and self._keyed is not None:
            call.is_key_reserved = True
            call.is_reply_stored = call.is_reply_stored or self._reply is not None

    @asynccontextmanager
    async def _under(self, organization_id: UUID | None) -> AsyncIterator[None]:
        # Policies let only rows of the current organization in, so what is about another one (a sign-up creates it) is
        # written under that one.
        if organization_id == self._organization_id:
            yield
            return
        await set_scope(self.session, organization_id, self.user_id)
        yield
        await set_scope(self.session, self._organization_id, self.user_id)


class Acquire(Generic[W]):
    """Opens units of work. The only way to a session, so nothing runs without saying for whom."""

    def __init__(self, kind: type[W], database: Database, sealer: Sealer) -> None:
        self._kind = kind
        self._sealer = sealer
        self.database = database

    def __call__(self) -> AbstractAsyncContextManager[W]:
        """Open a unit for the caller of the current call. Raises CredentialMissing when there is none."""
        caller = current_caller()
        return self._open(Scope(caller.organization_id, caller.principal_id, Actor.of(caller)))

    def as_organization(
        self, organization_id: UUID | None, actor: Actor, *, inbox: Delivery | None = None
    ) -> AbstractAsyncContextManager[W]:
        """Open a unit of an organization, for jobs and consumers.

        With `inbox` the unit is the effect of that event: opening raises DuplicateDelivery when it took effect before.
        """
        return self._open(Scope(organization_id, actor.principal_id, actor), inbox=inbox)

    def as_user(
        self, user_id: UUID, *, actor: Actor | None = None, inbox: Delivery | None = None
    ) -> AbstractAsyncContextManager[W]:
        """Open a unit of a user and no organization; the user is the actor unless somebody else is."""
        acting = actor or Actor(ids.USER.show(user_id), "user", user_id)
        return self._open(Scope(None, user_id, acting), inbox=inbox)

    def anonymous(self) -> AbstractAsyncContextManager[W]:
        """Open a unit that sees no tenant's and no user's row: only global tables and look-ups by secret."""
        return self._open(Scope())

    def machinery(self, *, inbox: Delivery | None = None) -> AbstractAsyncContextManager[W]:
        """Open a unit of the machinery role: all rows of the few tables it may touch, across organizations."""
        actor = Actor.service(self.database.service)
        return self._open(Scope(actor=actor), engine=self.database.machinery, inbox=inbox)

    @asynccontextmanager
    async def _open(
        self, scope: Scope, *, engine: AsyncEngine | None = None, inbox: Delivery | None = None
    ) -> AsyncIterator[W]:
        call = call_or_none()
        keyed = None if engine else self._keyed(call)
        session = AsyncSession(engine or self.database.app, expire_on_commit=False)
        session.info[PAGE_SECRET] = self.database.derived_key("pages")
        with inside_unit_of_work(), self._translating_constraints():
            async with unavailable_as_error(), session, session.begin():
                time = await set_scope(session, scope.organization_id, scope.user_id)
                origin = Origin.here(
                    service=self.database.service,
                    organization_id=scope.organization_id,
                    actor=scope.actor,
                    time=time,
                )
                work = self._kind(session, scope, origin, keyed)
                await work.reserve_key()
                if inbox is not None:
                    await work.receive(inbox)
                yield work
                await work.finish()
        work.committed(call)

    def _keyed(self, call: CallContext | None) -> KeyedCall | None:
        if call is None or call.idempotency is None or call.caller is None:
            return None
        return KeyedCall(call, call.idempotency, self._sealer)

    @contextmanager
    def _translating_constraints(self) -> Iterator[None]:
        try:
            yield
        except StaleDataError as error:
            raise EtagMismatch from error
        except IntegrityError as error:
            meaning = self._kind.constraint_errors.get(violated_constraint(error))
            if meaning is None:
                raise
            raise meaning() from error


async def set_scope(session: AsyncSession, organization_id: UUID | None, user_id: UUID | None) -> datetime:
    """Set whose rows the transaction sees, for this transaction only, and return when it began."""
    statement = text(
        "SELECT set_config('app.organization_id', :organization, true), set_config('app.user_id', :user, true), now()"
    )
    parameters = {"organization": str(organization_id or ""), "user": str(user_id or "")}
    row = (await session.execute(statement, parameters)).one()
    return cast("datetime", row[2]).astimezone(UTC)


class StoredReplies:
    """How `chassis.rpc.interceptors` takes part: it asks here at the end of a call with an idempotency key."""

    def __init__(self, database: Database, *, sealer: Sealer | None = None) -> None:
        self._database = database
        self._sealer = sealer or default_sealer(database)

    def replay_of(self, error: BaseException) -> Message | None:
        """Return the reply kept for the key of a call when that is what its unit of work raised."""
        return error.reply if isinstance(error, IdempotentReplay) else None

    async def store(self, call: CallContext, reply: Message) -> None:
        """Keep the reply of a call that reserved its key and did not hand the reply to `work.reply`."""
        async with self._keyed(call) as (keyed, session):
            await keyed.store(session, reply)

    async def release(self, call: CallContext) -> None:
        """Give the key of a failed call back."""
        async with self._keyed(call) as (keyed, session):
            await keyed.release(session)

    @asynccontextmanager
    async def _keyed(self, call: CallContext) -> AsyncIterator[tuple[KeyedCall, AsyncSession]]:
        if call.idempotency is None:
            raise ValueError("the call has no idempotency key")
        keyed = KeyedCall(call, call.idempotency, self._sealer)
        async with unavailable_as_error(), AsyncSession(self._database.app) as session, session.begin():
            await set_scope(session, keyed.organization_id, None)
            yield keyed, session
