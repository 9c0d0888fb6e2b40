"""Services under test: real ones, in this process, over gRPC, each with a fresh database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from google.protobuf.message import Message
from pydantic import SecretStr

from chassis import ids
from chassis.data.database import Database
from chassis.errors import FleetError
from chassis.rpc.authentication import FleetAuthenticator
from chassis.rpc.caller import Caller
from chassis.rpc.client import Channels, Peers
from chassis.rpc.server import build_server
from chassis.rpc.tokens import ContextTokenVerifier, StaticFleetKeys
from chassis.service import Service
from chassis.settings import KeySettings, ProcessSettings, ServiceSettings
from chassis.testing.authority import Authority
from chassis.testing.databases import make_database
from chassis.testing.outbox import OutboxReader
from chassis.testing.servers import database_settings, nats_settings
from definable.options.v1.options_pb2 import Rank

Settings = TypeVar("Settings", bound=ServiceSettings)
Stub = TypeVar("Stub")
ENCRYPTION_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


class InProcessService:
    """A running service, as its tests see it."""

    def __init__(
        self, name: str, port: int, *, service: Service, settings: ServiceSettings, authority: Authority
    ) -> None:
        self.name = name
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.service = service
        self.settings = settings
        self.authority = authority
        self.database = Database(settings.database, service=name)
        self.outbox = OutboxReader(self.database)
        self._channels = Channels({name: self.address})

    def stub(self, kind: Callable[[Any], Stub], caller: Caller | None) -> Stub:
        """Return a generated stub whose calls carry the caller's token, none for None; failures are FleetErrors."""
        return _CallerPeers(self._channels, self.authority, caller).stub(kind, self.name)

    def stub_as_process(self, kind: Callable[[Any], Stub], process: str) -> Stub:
        """Return a stub that calls as a process of the fleet does, with assertions towards auth."""
        settings = ProcessSettings(name=process, keys=KeySettings(private_key_file=self.authority.key_file(process)))
        channels = Channels(
            {self.name: self.address, "auth": self.address if self.name == "auth" else self.authority.address}
        )
        return Peers(settings, channels=channels).stub(kind, self.name)

    async def close(self) -> None:
        """Close what the tests used."""
        await self._channels.close()
        await self.database.close()


class _CallerPeers(Peers):
    """Calls in the name of a test's caller."""

    def __init__(self, channels: Channels, authority: Authority, caller: Caller | None) -> None:
        super().__init__(ProcessSettings(name="tests"), channels=channels)
        self._authority = authority
        self._caller = caller

    async def _token(self, peer: str, path: str) -> str:
        return self._authority.token(self._caller) if self._caller is not None else ""


@asynccontextmanager
async def start_service_at(
    authority: Authority,
    name: str,
    settings_class: type[Settings],
    build: Callable[[Settings], Service],
    *,
    peers: Mapping[str, str] | None = None,
    **overrides: Any,  # Any: settings of whatever type
) -> AsyncIterator[InProcessService]:
    """Bootstrap, migrate and start a service; see `chassis.testing.start_service`."""
    defaults: dict[str, Any] = {  # Any: as above
        "name": name,
        "database": database_settings(),
        "nats": nats_settings(),
        "peers": {"auth": authority.address, **(peers or {})},
        "keys": KeySettings(private_key_file=authority.key_file(name)),
        "encryption": {"key": SecretStr(ENCRYPTION_KEY)},
        "log_level": "WARNING",
    }
    settings = settings_class(**{**defaults, **overrides})
    await make_database(settings)
    service = build(settings)
    port = await service.start()
    running = InProcessService(name, port, service=service, settings=settings, authority=authority)
    try:
        await service.until_ready()
        yield running
    finally:
        await running.close()
        await service.stop(1.0)


@asynccontextmanager
async def serve_fake_at(authority: Authority, *servicers: object, name: str = "fake") -> AsyncIterator[str]:
    """Serve stand-ins for a peer; see `chassis.testing.serve_fake`."""
    verifier = ContextTokenVerifier(StaticFleetKeys({authority.kid: authority.public_key}))
    server = build_server(name=name, servicers=servicers, authenticate=FleetAuthenticator(verifier))
    port = await server.start()
    await server.set_serving(True)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


Call = Callable[[Caller | None], Awaitable[Message]]


async def caller_matrix(
    call: Call, authority: Authority, *, permitted: Caller, low: Caller | None = None
) -> Mapping[str, str]:
    """Make a call as nobody, a stranger, somebody of too low a role and one who may; return reason or "OK" of each.

    `low` is a colleague without grants unless given. The permitted caller goes last, so that a call that deletes does
    it then.
    """
    callers: Sequence[tuple[str, Caller | None]] = (
        ("nobody", None),
        ("stranger", authority.caller()),
        ("low", low or authority.colleague(permitted, Rank.RANK_UNSPECIFIED, grants=())),
        ("permitted", permitted),
    )
    return {who: await _outcome(call, caller) for who, caller in callers}


async def _outcome(call: Call, caller: Caller | None) -> str:
    try:
        await call(caller)
    except FleetError as error:
        return error.reason
    return "OK"


def typed_organization(caller: Caller) -> str:
    """Return the typed id of a caller's organization. Raises ValueError when it has none."""
    if caller.organization_id is None:
        raise ValueError("the caller has no organization")
    return ids.ORGANIZATION.show(caller.organization_id)
