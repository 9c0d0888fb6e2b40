"""A service, put together and run.

`main.py` of each service describes it; here it is started, watched and stopped. Services start in any order: a process
answers at once, says by health and /readyz that it is not ready, and becomes ready when what it needs is there.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from google.protobuf.message import Message

from chassis import telemetry
from chassis.data.database import Database
from chassis.data.idempotency import IdempotentReplay
from chassis.data.unit_of_work import Acquire, StoredReplies, UnitOfWork
from chassis.errors import DependencyUnavailable, FleetError
from chassis.messaging.broker import Broker
from chassis.messaging.consumers import Consumer, Consumers
from chassis.messaging.job_servicer import Jobs
from chassis.messaging.jobs import Job, JobWorkers
from chassis.messaging.reaper import Reaper
from chassis.messaging.relay import Relay
from chassis.probes import Probes
from chassis.refused_accesses import RefusedAccessRecorder
from chassis.rpc.authentication import FleetAuthenticator
from chassis.rpc.caller import CallContext
from chassis.rpc.client import Peers
from chassis.rpc.refusals import Refusals
from chassis.rpc.server import FleetServer, build_server
from chassis.rpc.tokens import ContextTokenVerifier
from chassis.rpc.trust import RemoteFleetKeys, RevocationWatch
from chassis.settings import ServiceSettings

READINESS_EVERY = 1.0
READINESS_TIMEOUT = 3.0
BACKGROUND_GRACE = 10.0

log = telemetry.get_logger(__name__)

Check = Callable[[], Awaitable[object]]


class Background(Protocol):
    """Work that goes on as long as the process."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Started again, a second later, when it raises."""
        ...


@dataclass
class Service:
    """What a service is made of.

    `authenticate` is for auth, which has the keys; every other service asks auth for them over `peers`.
    """

    name: str
    settings: ServiceSettings
    servicers: Sequence[object]
    database: Database | None = None
    consumers: Sequence[Consumer] = ()
    jobs: Sequence[Job] = ()
    background: Sequence[Background] = ()
    readiness: Sequence[Check] = ()
    peers: Peers | None = None
    unit_of_work: Acquire[Any] | None = None  # Any: the service's own class of units
    authenticate: FleetAuthenticator | None = None

    port: int = field(default=0, init=False)
    """Where it serves gRPC, once started."""
    probes_port: int = field(default=0, init=False)
    """Where it serves /metrics, /healthz and /readyz, once started; 0 without `metrics_listen`."""

    def __post_init__(self) -> None:
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._amiss: dict[str, str] = {"process": "starting"}
        self._refusals = Refusals()
        self._broker: Broker | None = None
        self._server: FleetServer | None = None
        self._probes = Probes(self._report)
        self._tasks: list[asyncio.Task[None]] = []
        self._checks: dict[str, Check] = {}

    async def start(self) -> int:
        """Serve, and start what goes on behind; returns the port of gRPC. Raises OSError when it can't listen."""
        telemetry.configure_logging(self.settings)
        telemetry.configure_tracing(self.settings)
        name_token = telemetry.current_service.set(self.name)
        try:
            work = [*self._trust(), *self._machinery(), *self.background]
            self._server = self._build_server()
            self.port = await self._server.start()
            if self.settings.metrics_listen:
                self.probes_port = await self._probes.start(self.settings.metrics_listen)
            self._checks |= {_name_of(check): check for check in self.readiness}
            # Tasks take the name of the service along, so that each line they log has it.
            self._tasks = [asyncio.create_task(self._supervise(item)) for item in work]
            self._tasks.append(asyncio.create_task(self._watch_readiness()))
            log.info("service_started", port=self.port)
        finally:
            telemetry.current_service.reset(name_token)
        return self.port

    async def stop(self, grace: float | None = None) -> None:
        """Refuse new calls, let those in flight and the work behind end within `grace` seconds, close everything."""
        grace = self.settings.grpc.drain_seconds if grace is None else grace
        self._stopping.set()
        server = self._server.stop(grace) if self._server is not None else _nothing()
        await asyncio.gather(server, self._end_background(min(grace, BACKGROUND_GRACE)))
        await self._close()
        await self._probes.stop()
        self._ready.clear()

    async def serve(self) -> None:
        """Run until SIGTERM or SIGINT, then drain."""
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await self.start()
        await ended.wait()
        log.info("service_draining", service=self.name)
        await self.stop()

    async def until_ready(self, timeout: float = 30.0) -> None:
        """Wait until all that it needs is there. Raises TimeoutError, which says what is not."""
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError:
            raise TimeoutError(f"{self.name} is not ready: {self._amiss}") from None

    @property
    def is_ready(self) -> bool:
        """Whether the last look found all that the service needs."""
        return self._ready.is_set()

    async def check(self) -> Mapping[str, str]:
        """Look now at what the service needs, and return what is amiss, by name."""
        results = await asyncio.gather(*(_outcome(check) for check in self._checks.values()))
        return {name: outcome for name, outcome in zip(self._checks, results, strict=True) if outcome}

    async def preflight(self) -> Mapping[str, str]:
        """Look whether all that the service needs is there, without serving; returns what is amiss, by name."""
        for trust in self._trust():
            if isinstance(trust, RemoteFleetKeys):
                self._checks["fleet_keys"] = trust.refresh
        self._checks.pop("revocations", None)
        if self.database is not None:
            self._checks["database_roles"] = self.database.check_roles
        self._checks |= {_name_of(check): check for check in self.readiness}
        try:
            return await self.check()
        finally:
            await self._close()

    # --- what it is made of ---

    def _trust(self) -> list[Background]:
        """Keys and revocations from auth; auth itself has both."""
        if self.authenticate is not None:
            return []
        if self.peers is None or "auth" not in self.settings.peers:
            raise ValueError(f"{self.name.upper()}_PEERS__AUTH is not set")
        keys = RemoteFleetKeys(self.peers)
        self.authenticate = FleetAuthenticator(ContextTokenVerifier(keys))
        watch = RevocationWatch(self.peers, self.authenticate.verifier.revocations.apply)
        self._checks |= {"fleet_keys": keys.check, "revocations": watch.check}
        return [keys, watch]

    def _machinery(self) -> list[Background]:
        """What the database brings along: relay, consumers, workers, reaper, the record of refused accesses."""
        if self.database is None:
            return []
        self._broker = Broker(self.settings.nats, name=self.name)
        self._checks["database_roles"] = _Once(self.database.check_roles)
        machinery: list[Background] = [
            Reaper(self.database),
            RefusedAccessRecorder(self._refusals, self._acquire(self.database)),
            JobWorkers(self.database, self._broker, self.jobs),
        ]
        # Without a broker, or with it down, all but the exchange of events goes on: it is no matter of readiness.
        if self._broker.is_configured:
            machinery += [Relay(self.database, self._broker), Consumers(self.database, self._broker, self.consumers)]
        return machinery

    def _acquire(self, database: Database) -> Acquire[UnitOfWork]:
        return cast("Acquire[UnitOfWork]", self.unit_of_work or UnitOfWork.factory(database))

    def _build_server(self) -> FleetServer:
        authenticate = cast("FleetAuthenticator", self.authenticate)
        jobs = [Jobs(self._acquire(self.database), service=self.name)] if self.database else []
        return build_server(
            name=self.name,
            servicers=[*self.servicers, *jobs],
            authenticate=authenticate,
            settings=self.settings.grpc,
            revocations=authenticate.verifier.revocations,
            refusals=self._refusals,
            replies=_Replies(self.database) if self.database else None,
        )

    async def _close(self) -> None:
        for closable in (self.peers, self._broker, self.database):
            if closable is not None:
                await closable.close()

    # --- what goes on behind ---

    async def _supervise(self, work: Background) -> None:
        while not self._stopping.is_set():
            try:
                await work.run(self._stopping)
                return
            except Exception:  # logged here, and started again: one loop must not end the process
                log.exception("background_failed", work=type(work).__name__)
                await _pause(self._stopping, 1.0)

    async def _watch_readiness(self) -> None:
        while not self._stopping.is_set():
            amiss = dict(await self.check())
            if amiss != self._amiss:
                log.info("readiness_changed", amiss=amiss)
            self._amiss = amiss
            if bool(amiss) == self._ready.is_set() and self._server is not None:
                await self._server.set_serving(not amiss)
                self._ready.clear() if amiss else self._ready.set()
            await _pause(self._stopping, READINESS_EVERY if self._ready.is_set() else READINESS_EVERY / 5)

    async def _report(self) -> Mapping[str, str]:
        return {"process": "stopping"} if self._stopping.is_set() else self._amiss

    async def _end_background(self, grace: float) -> None:
        if not self._tasks:
            return
        _, pending = await asyncio.wait(self._tasks, timeout=grace)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self._tasks = []


class _Replies:
    """Lets chassis.data take part in idempotency, which chassis.rpc doesn't know."""

    def __init__(self, database: Database) -> None:
        stored = StoredReplies(database)
        self.store: Callable[[CallContext, Message], Coroutine[Any, Any, None]] = stored.store
        self.release: Callable[[CallContext], Coroutine[Any, Any, None]] = stored.release

    def replay_of(self, error: BaseException) -> Message | None:
        """Return the reply that the unit of work found under the key of the call."""
        return error.reply if isinstance(error, IdempotentReplay) else None


class _Once:
    """A check that need not be repeated once it has passed."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._has_passed = False

    async def __call__(self) -> None:
        if not self._has_passed:
            await self._check()
            self._has_passed = True


async def _outcome(check: Check) -> str:
    """Return the reason why a check fails, empty when it passes."""
    try:
        async with asyncio.timeout(READINESS_TIMEOUT):
            await check()
    except DependencyUnavailable as error:
        return f"{error.metadata['dependency']} is unavailable"
    except FleetError as error:
        return error.reason
    except TimeoutError:
        return "no answer in time"
    except Exception as error:  # a check may fail in any way; what matters is that it did
        log.warning("readiness_check_failed", check=_name_of(check), exc_info=error)
        return type(error).__name__
    return ""


def _name_of(check: Check) -> str:
    owner = getattr(check, "__self__", None)
    name = getattr(check, "__name__", type(check).__name__)
    return f"{type(owner).__name__}.{name}" if owner is not None else name


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _nothing() -> None:
    return
