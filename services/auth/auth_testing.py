"""What the integration tests of auth share: org as a real gRPC server with its state in memory, and people."""

# ruff: noqa: N802 (the RPCs of the stand-in have their names from the contract)

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from auth.main import build
from auth.settings import AuthSettings, TrustSettings
from chassis.data.database import engine_url
from chassis.ids import ORGANIZATION, USER
from chassis.rpc.authentication import FleetAuthenticator
from chassis.rpc.caller import Caller
from chassis.rpc.server import Context, build_server
from chassis.rpc.tokens import ContextTokenVerifier, ProcessAssertion, StaticFleetKeys
from chassis.testing import InProcessService, start_service
from definable.auth.v1.account_service_pb2 import LogInRequest, LogInResponse, SignUpRequest
from definable.auth.v1.account_service_pb2_grpc import AccountServiceStub
from definable.auth.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from definable.auth.v1.authentication_service_pb2 import (
    AuthenticateRequest,
    ListFleetKeysRequest,
    MintServiceContextRequest,
)
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceStub
from definable.auth.v1.user_directory_service_pb2_grpc import UserDirectoryServiceStub
from definable.auth.v1.user_service_pb2_grpc import UserServiceStub
from definable.options.v1.options_pb2 import Rank
from definable.org.v1.membership_service_pb2 import (
    ListMembershipsOfUserRequest,
    ListMembershipsOfUserResponse,
    Membership,
    ProvisionOrganizationRequest,
    ResolveMembershipRequest,
    ResolveMembershipResponse,
)
from definable.org.v1.membership_service_pb2_grpc import MembershipServiceServicer
from definable.org.v1.organization_service_pb2 import Organization

PASSWORD = "correct horse battery"
PROCESSES = ("gateway", "org", "kb", "agent", "conversation", "tool")
_numbers = itertools.count(1)


@dataclass
class Standing:
    """A user's membership in one organization."""

    rank: int = Rank.OWNER
    grants: tuple[str, ...] = ("*",)
    role: str = "owner"
    revision: int = 1


class FakeOrg(MembershipServiceServicer):
    """org, as far as auth asks it."""

    def __init__(self) -> None:
        self.members: dict[tuple[UUID, UUID], Standing] = {}
        self.names: dict[UUID, str] = {}
        self.is_down = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.was_asked = asyncio.Event()
        self.provision_count = 0

    def add(self, organization_id: UUID, user_id: UUID, standing: Standing | None = None) -> None:
        """Make the user a member."""
        self.members[organization_id, user_id] = standing or Standing()
        self.names.setdefault(organization_id, "An organization")

    async def ProvisionOrganization(self, request: ProvisionOrganizationRequest, context: Context) -> Organization:
        await self._answer(context)
        self.provision_count += 1
        organization_id = ORGANIZATION.parse(request.organization_id)
        self.names[organization_id] = request.display_name
        self.add(organization_id, USER.parse(request.owner_user_id))
        return Organization(id=request.organization_id, display_name=request.display_name)

    async def ResolveMembership(self, request: ResolveMembershipRequest, context: Context) -> ResolveMembershipResponse:
        await self._answer(context)
        standing = self.members.get((ORGANIZATION.parse(request.organization_id), USER.parse(request.user_id)))
        if standing is None:
            return ResolveMembershipResponse(is_member=False)
        return ResolveMembershipResponse(
            is_member=True,
            rank=Rank.ValueType(standing.rank),
            grants=standing.grants,
            role=standing.role,
            revision=standing.revision,
        )

    async def ListMembershipsOfUser(
        self, request: ListMembershipsOfUserRequest, context: Context
    ) -> ListMembershipsOfUserResponse:
        await self._answer(context)
        user_id = USER.parse(request.user_id)
        return ListMembershipsOfUserResponse(
            memberships=[
                Membership(
                    organization_id=ORGANIZATION.show(organization_id),
                    display_name=self.names[organization_id],
                    role=standing.role,
                    rank=Rank.ValueType(standing.rank),
                )
                for (organization_id, member_id), standing in self.members.items()
                if member_id == user_id
            ]
        )

    async def has_members(self) -> bool:
        """Say whether anybody belongs to anything."""
        return bool(self.members)

    async def _answer(self, context: Context) -> None:
        self.was_asked.set()
        if self.is_down:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        await self.may_answer.wait()


@dataclass
class Person:
    """Somebody who signed up and logged in."""

    email: str
    user_id: UUID
    organization_id: UUID
    tokens: LogInResponse

    @property
    def session_id(self) -> str:
        """The session, as the access token names it."""
        payload = self.tokens.access_token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["sid"])


@dataclass
class AuthUnderTest:
    """auth as it runs, with org stood in for and a key for each process of the fleet."""

    service: InProcessService
    org: FakeOrg
    trust: Path
    process_keys: dict[str, Ed25519PrivateKey] = field(default_factory=dict)

    @asynccontextmanager
    async def owner_connection(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction of the role that owns the tables."""
        database = self.service.settings.database
        engine = create_async_engine(engine_url(database, "auth_owner", database.owner_password.get_secret_value()))
        try:
            async with engine.begin() as connection:
                yield connection
        finally:
            await engine.dispose()

    def accounts(self, caller: Caller | None = None) -> AccountServiceStub:
        return self.service.stub(AccountServiceStub, caller)

    def users(self, caller: Caller | None = None) -> UserServiceStub:
        return self.service.stub(UserServiceStub, caller)

    def api_keys(self, caller: Caller | None = None) -> ApiKeyServiceStub:
        return self.service.stub(ApiKeyServiceStub, caller)

    def directory(self, process: str) -> UserDirectoryServiceStub:
        return self.service.stub(UserDirectoryServiceStub, self.process(process))

    def authentication(self, process: str) -> AuthenticationServiceStub:
        """Return a stub for one call: an assertion is accepted once."""
        return self.service.stub(AuthenticationServiceStub, self.process(process))

    def process(self, name: str) -> Caller:
        """Return a process of the fleet, with a fresh assertion in place of a token."""
        assertion = ProcessAssertion.make(name, self.process_keys[name])
        return Caller(subject=f"service:{name}", kind="service", service=name, token=assertion)

    async def sign_up(self, *, log_in: bool = True) -> Person:
        email = f"person-{next(_numbers)}-{uuid4().hex[:6]}@example.com"
        reply = await self.accounts().SignUp(SignUpRequest(email=email, password=PASSWORD, display_name="A Person"))
        return Person(
            email=email,
            user_id=USER.parse(reply.user.id),
            organization_id=ORGANIZATION.parse(reply.organization_id),
            tokens=await self.log_in(email) if log_in else LogInResponse(),
        )

    async def log_in(self, email: str, password: str = PASSWORD) -> LogInResponse:
        return await self.accounts().LogIn(LogInRequest(email=email, password=password))

    async def authenticate(self, credential: str, *, address: str = "198.51.100.7") -> str:
        """Exchange a credential as the gateway does; return the context token."""
        reply = await self.authentication("gateway").Authenticate(
            AuthenticateRequest(credential=credential, client_address=address)
        )
        return reply.context_token

    async def caller(self, credential: str, *, address: str = "198.51.100.7") -> Caller:
        """Return a caller with a context token for a credential."""
        return Caller(
            subject="as the token says", kind="user", token=await self.authenticate(credential, address=address)
        )

    async def mint(self, process: str, *, organization_id: UUID | None, actor: str = "", end_user: str = "") -> str:
        """Mint a context token as a process does."""
        reply = await self.authentication(process).MintServiceContext(
            MintServiceContextRequest(
                organization_id=ORGANIZATION.show(organization_id) if organization_id else "",
                actor_subject=actor,
                end_user=end_user,
            )
        )
        return reply.context_token

    def trust_process(self, name: str, *, suffix: str = "") -> Ed25519PrivateKey:
        """Give a process a key, and put its public half where auth looks."""
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.trust / f"{name}{suffix}.pub").write_bytes(public)
        self.process_keys[name] = key
        return key


@asynccontextmanager
async def serve_org(org: FakeOrg, keys: StaticFleetKeys) -> AsyncIterator[str]:
    """Serve org's stand-in behind the fleet's interceptors, which know the given keys; yield its address."""
    server = build_server(name="org", servicers=[org], authenticate=FleetAuthenticator(ContextTokenVerifier(keys)))
    port = await server.start()
    await server.set_serving(True)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def running_auth(folder: Path, **overrides: Any) -> AsyncIterator[AuthUnderTest]:  # settings of whatever type
    """Run auth beside a stand-in of org that accepts only tokens which auth signed for itself."""
    org, keys = FakeOrg(), StaticFleetKeys({})
    trust = folder / "trust"
    trust.mkdir(parents=True)
    async with (
        serve_org(org, keys) as address,
        start_service(
            "auth", AuthSettings, build, peers={"org": address}, trust=TrustSettings(folder=trust), **overrides
        ) as service,
    ):
        auth = AuthUnderTest(service=service, org=org, trust=trust)
        for process in PROCESSES:
            auth.trust_process(process)
        listed = await auth.authentication("org").ListFleetKeys(ListFleetKeysRequest())
        keys.keys |= {key.kid: Ed25519PublicKey.from_public_bytes(key.public_key) for key in listed.keys}
        yield auth
