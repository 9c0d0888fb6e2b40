"""org as it runs in tests: a real process over gRPC, with a stand-in for auth beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.data import migrations
from chassis.data.database import engine_url
from chassis.errors import DependencyUnavailable
from chassis.ids import ORGANIZATION, USER, job_id, new_id
from chassis.messaging.events import Delivery, Envelope, subject_of
from chassis.rpc import descriptors
from chassis.rpc.caller import Actor, Caller
from chassis.rpc.server import Context
from chassis.testing import Authority, InProcessService, database_settings
from definable.auth.v1.user_directory_service_pb2 import (
    EnsureUserRequest,
    GetUsersRequest,
    GetUsersResponse,
    UserProfile,
)
from definable.auth.v1.user_directory_service_pb2_grpc import UserDirectoryServiceServicer
from definable.auth.v1.user_service_pb2 import User
from definable.options.v1.options_pb2 import Rank
from definable.org.v1 import (
    audit_service_pb2_grpc,
    budget_service_pb2_grpc,
    event_service_pb2_grpc,
    job_list_service_pb2_grpc,
    member_service_pb2_grpc,
    membership_service_pb2_grpc,
    organization_service_pb2_grpc,
    role_service_pb2_grpc,
    usage_service_pb2_grpc,
)
from definable.org.v1.member_service_pb2 import CreateMemberRequest
from definable.org.v1.membership_service_pb2 import ProvisionOrganizationRequest
from org.adapters.event_schemas import EventSchemas
from org.consumers import FeedRecorder
from org.domain.roles import lowest_role
from org.models import Base
from org.settings import OrgSettings
from org.unit_of_work import OrgUnitOfWork

Stub = Any  # Any: generated stubs have no type that says which messages their calls take and give
_MODULES = {
    "AuditService": audit_service_pb2_grpc,
    "BudgetService": budget_service_pb2_grpc,
    "EventService": event_service_pb2_grpc,
    "JobListService": job_list_service_pb2_grpc,
    "MemberService": member_service_pb2_grpc,
    "MembershipService": membership_service_pb2_grpc,
    "OrganizationService": organization_service_pb2_grpc,
    "RoleService": role_service_pb2_grpc,
    "UsageService": usage_service_pb2_grpc,
}


class Directory(UserDirectoryServiceServicer):
    """A directory of users in memory, which can be away."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._is_away = False

    @contextmanager
    def away(self) -> Iterator[None]:
        """Answer nobody inside the block."""
        self._is_away = True
        try:
            yield
        finally:
            self._is_away = False

    def knows(self, email: str) -> bool:
        """Say whether somebody has the address."""
        return email in self._users

    def user_id_of(self, email: str) -> str:
        """Return the id of whoever has the address."""
        return self._users[email].id

    async def EnsureUser(self, request: EnsureUserRequest, context: Context) -> User:
        self._answer_or_be_away()
        user = User(id=USER.show(new_id()), email=request.email, display_name=request.display_name)
        return self._users.setdefault(request.email, user)

    async def GetUsers(self, request: GetUsersRequest, context: Context) -> GetUsersResponse:
        self._answer_or_be_away()
        found = [user for user in self._users.values() if user.id in request.ids]
        profiles = [UserProfile(id=user.id, display_name=user.display_name, email=user.email) for user in found]
        return GetUsersResponse(users=profiles)

    def _answer_or_be_away(self) -> None:
        if self._is_away:
            raise DependencyUnavailable(dependency="postgres")


@dataclass(frozen=True)
class Home:
    """An organization with its first owner."""

    id: str
    organization_id: UUID
    display_name: str
    owner: Caller
    owner_id: str
    owner_uuid: UUID

    @property
    def actor(self) -> Actor:
        """The owner as events name them."""
        return Actor.of(self.owner)


class Org:
    """The service under test, and ways into it."""

    def __init__(self, service: InProcessService, directory: Directory) -> None:
        self.service = service
        self.directory = directory
        self.authority: Authority = service.authority
        self.settings = cast("OrgSettings", service.settings)
        self.acquire = OrgUnitOfWork.factory(service.database)
        self.recorder = FeedRecorder(self.acquire, EventSchemas(descriptors.packaged()).fields)

    # -- stubs -------------------------------------------------------------------------------------------------------

    def stub_of(self, rpc: str, caller: object) -> Stub:
        """Return the stub that has an RPC, "MemberService.GetMember"."""
        name = rpc.partition(".")[0]
        kind = getattr(_MODULES[name], f"{name}Stub")
        assert caller is None or isinstance(caller, Caller)
        return self.service.stub(kind, caller)

    def organizations(self, caller: object) -> Stub:
        return self.stub_of("OrganizationService", caller)

    def members(self, caller: object) -> Stub:
        return self.stub_of("MemberService", caller)

    def events(self, caller: object) -> Stub:
        return self.stub_of("EventService", caller)

    def audit(self, caller: object) -> Stub:
        return self.stub_of("AuditService", caller)

    def jobs(self, caller: object) -> Stub:
        return self.stub_of("JobListService", caller)

    def usage(self, caller: object) -> Stub:
        return self.stub_of("UsageService", caller)

    def memberships(self) -> Stub:
        """As auth."""
        return self.stub_of("MembershipService", self.authority.service("auth"))

    def budgets(self, home: Home) -> Stub:
        """As agent, in an organization."""
        return self.stub_of("BudgetService", self.a_process("agent", home))

    # -- callers -----------------------------------------------------------------------------------------------------

    def a_process(self, name: str, home: Home) -> Caller:
        """A process of the fleet, acting as itself in an organization."""
        return self.authority.service(name, home.organization_id)

    def a_stranger(self) -> Caller:
        """The owner of an organization that org never heard of."""
        return self.authority.caller()

    def api_key_of(self, home: Home) -> Caller:
        """A key of the owner's."""
        return self.authority.caller(kind="api_key", organization_id=home.organization_id, principal_id=home.owner_uuid)

    def caller_in(self, organization_id: str, caller: Caller) -> Caller:
        """The same person after switching to another organization."""
        return self.authority.caller(
            organization_id=ORGANIZATION.parse(organization_id), principal_id=caller.principal_id
        )

    async def a_member(self, home: Home, rank: int) -> Caller:
        """A new member with the role of that rank."""
        request = CreateMemberRequest(email=an_address(), role=lowest_role(rank).name)
        member = await self.members(home.owner).CreateMember(request)
        return self.authority.caller(
            rank=Rank.ValueType(rank),
            organization_id=home.organization_id,
            principal_id=USER.parse(member.user_id),
        )

    async def join(self, home: Home, user_id: str, role: str) -> None:
        """Add a user that exists to another organization."""
        [email] = [user.email for user in self.directory._users.values() if user.id == user_id]
        await self.members(home.owner).CreateMember(CreateMemberRequest(email=email, role=role))

    # -- what is left behind -----------------------------------------------------------------------------------------

    async def announced(self, kind: type[Any]) -> Any:  # Any: the event asked for
        """Return the newest event of a type."""
        return await self.service.outbox.last(kind)

    async def count_announced(self, kind: type[Message], *, organization_id: str) -> int:
        """Count events of a type about an organization."""
        wanted = ORGANIZATION.parse(organization_id)
        recorded = await self.service.outbox.all(kind)
        return sum(record.envelope.organization_id == wanted for record in recorded)

    async def owner_count(self, home: Home) -> int:
        """Count the owners in the table."""
        query = "SELECT count(*) FROM org.members WHERE organization_id = $1 AND role = 'owner'"
        return int((await self.rows(query, home.organization_id))[0][0])

    # -- the database ------------------------------------------------------------------------------------------------

    async def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read as the administrator, whom no policy holds."""
        connection = await self._connect_as_administrator()
        try:
            return [tuple(row) for row in await connection.fetch(query, *values)]
        finally:
            await connection.close()

    async def execute(self, statement: str, *values: object) -> None:
        """Change something as the administrator."""
        connection = await self._connect_as_administrator()
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    async def rows_as(
        self, role: str, query: str, *, organization_id: UUID | None = None, user_id: UUID | None = None
    ) -> list[tuple[Any, ...]]:
        """Read as one of the service's roles, with the scope given and no other layer between."""
        database = self.settings.database
        passwords = {"app": database.app_password, "machinery": database.machinery_password}
        connection = await asyncpg.connect(
            host=database.host,
            port=database.port,
            database=database.name,
            user=f"org_{role}",
            password=passwords[role].get_secret_value(),
        )
        try:
            async with connection.transaction():
                await connection.execute(
                    "SELECT set_config('app.organization_id', $1, true), set_config('app.user_id', $2, true)",
                    str(organization_id or ""),
                    str(user_id or ""),
                )
                return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def refusal_by_database(self, role: str, statement: str, *, organization_id: UUID | None = None) -> str:
        """Return the name of the error that a statement of a role ends with, "" when it ends well."""
        try:
            await self.rows_as(role, statement, organization_id=organization_id)
        except asyncpg.PostgresError as error:
            return type(error).__name__
        return ""

    async def a_fresh_database(self) -> OrgSettings:
        """Return settings of a database that has roles and schema and nothing else."""
        settings = self.settings.model_copy(update={"database": database_settings()})
        await migrations.bootstrap(settings)
        return settings

    async def difference_to_models(self, settings: OrgSettings) -> Sequence[object]:
        """Return what a migration would have to change for the tables to be as the models say."""

        def compare(connection: Connection) -> Sequence[object]:
            options = migrations.configuration("org", Base.metadata)
            found: Sequence[object] = compare_metadata(
                MigrationContext.configure(connection, opts=options), Base.metadata
            )
            return found

        password = settings.database.owner_password.get_secret_value()
        engine = create_async_engine(engine_url(settings.database, "org_owner", password))
        async with engine.connect() as connection:
            difference = await connection.run_sync(compare)
        await engine.dispose()
        return difference

    async def _connect_as_administrator(self) -> asyncpg.Connection[asyncpg.Record]:
        assert self.settings.database.admin_url is not None
        return await asyncpg.connect(
            self.settings.database.admin_url.get_secret_value(), database=self.settings.database.name
        )


async def found(org: Org) -> Home:
    """Provision an organization with an owner, as auth does at sign-up."""
    organization_id, owner_uuid = new_id(), new_id()
    shown, name = ORGANIZATION.show(organization_id), a_name("Acme")
    await org.memberships().ProvisionOrganization(
        ProvisionOrganizationRequest(organization_id=shown, owner_user_id=USER.show(owner_uuid), display_name=name)
    )
    owner = org.authority.caller(organization_id=organization_id, principal_id=owner_uuid)
    return Home(shown, organization_id, name, owner, USER.show(owner_uuid), owner_uuid)


def an_event(
    home: Home | None,
    message: Message,
    *,
    service: str,
    actor: Caller | None = None,
    time: Timestamp | None = None,
    message_type: str = "",
    **envelope: Any,  # Any: fields of the envelope
) -> Delivery:
    """Make the delivery of an event that the owner of an organization caused in a service."""
    subject = subject_of(type(message), service=service)
    by = Actor.of(actor) if actor else home.actor if home else Actor("", "")
    return Delivery(
        envelope=Envelope(
            event_id=new_id(),
            subject=subject,
            time=time.ToDatetime(UTC) if time else datetime.now(UTC),
            organization_id=home.organization_id if home else None,
            actor=by,
            message_type=message_type or message.DESCRIPTOR.full_name,
            **envelope,
        ),
        payload=message.SerializeToString(),
        message=message,
        consumer=FeedRecorder.name,
    )


def a_name(kind: str) -> str:
    """Return a name that nothing else has."""
    return f"{kind}-{new_id().hex[-12:]}"


def an_address() -> str:
    """Return an e-mail address that nobody else has."""
    return f"{a_name('person')}@example.com"


def a_job_id(service: str = "kb") -> str:
    """Return the id of a new job of a service."""
    return job_id(service).show(new_id())


def a_timestamp(*, minute: int = 0) -> Timestamp:
    """Return a time of a certain day, so many minutes after noon."""
    shown = Timestamp()
    shown.FromDatetime(datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(minutes=minute))
    return shown
