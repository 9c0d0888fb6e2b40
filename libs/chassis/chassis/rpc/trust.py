"""What a process needs from auth to know its callers: the keys of context tokens, and news of revocations."""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chassis import telemetry
from chassis.errors import DependencyUnavailable, FleetError
from chassis.rpc.client import Peers
from definable.auth.v1.authentication_service_pb2 import (
    FleetKey,
    ListFleetKeysRequest,
    Revocation,
    WatchRevocationsRequest,
)
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceStub

REFRESH_EVERY = timedelta(minutes=5)
ASK_AT_MOST_EVERY = 1.0
"""Seconds between two questions for keys: tokens with made-up key names must not become calls to auth."""
SILENCE = timedelta(seconds=25)
"""A watch without so much as a heartbeat for this long is dead."""

log = telemetry.get_logger(__name__)


class RemoteFleetKeys:
    """The keys that auth lists, asked for again from time to time and when a token names an unknown one."""

    def __init__(self, peers: Peers, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._stub = peers.stub(AuthenticationServiceStub, "auth")
        self._clock = clock
        self._keys: dict[str, tuple[Ed25519PublicKey, datetime]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._asked = -ASK_AT_MOST_EVERY

    def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of that name, None when auth listed none or its time is over."""
        key, not_after = self._keys.get(kid, (None, None))
        return key if not_after is not None and self._clock() < not_after else None

    async def refresh(self) -> None:
        """Ask auth, at most once a second and once for all who wait. Raises DependencyUnavailable, RemoteError."""
        if self._asking is None:
            if time.monotonic() - self._asked < ASK_AT_MOST_EVERY and self._keys:
                return
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._answered)
        await asyncio.shield(self._asking)

    async def check(self) -> None:
        """Pass when there is a key to verify with. Raises DependencyUnavailable."""
        if not any(self.find(kid) for kid in self._keys):
            raise DependencyUnavailable(dependency="auth")

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the keys fresh until `stop`."""
        while not stop.is_set():
            pause = REFRESH_EVERY.total_seconds()
            try:
                await self.refresh()
                await self.check()
            except FleetError as error:
                if not self._keys:
                    log.info("fleet_keys_missing", reason=error.reason)
                pause = random.uniform(0.2, 0.6) if not self._keys else 5.0
            await _wait(stop, pause)

    async def _ask(self) -> None:
        self._asked = time.monotonic()
        answer = await self._stub.ListFleetKeys(ListFleetKeysRequest(), timeout=5.0)
        self._keys = {key.kid: _key(key) for key in answer.keys}

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        # Whoever awaits the task sees its error; when nobody is left to, it has to be taken from the task here.
        if not task.cancelled():
            task.exception()


def _key(key: FleetKey) -> tuple[Ed25519PublicKey, datetime]:
    not_after = key.not_after.ToDatetime(UTC) if key.HasField("not_after") else datetime.max.replace(tzinfo=UTC)
    return Ed25519PublicKey.from_public_bytes(key.public_key), not_after


class RevocationWatch:
    """Hands on revocations as auth makes them; opens the stream again, where it left, whenever it breaks."""

    def __init__(self, peers: Peers, apply: Callable[[Revocation], None]) -> None:
        self._stub = peers.stub(AuthenticationServiceStub, "auth")
        self._apply = apply
        self._sequence = 0
        self._heard: float | None = None
        self.is_connected = False

    async def check(self) -> None:
        """Pass when revocations are being heard of. Raises DependencyUnavailable."""
        if not self.is_connected:
            raise DependencyUnavailable(dependency="auth")

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop`."""
        failures = 0
        while not stop.is_set():
            heard_before = self._heard
            try:
                await self._watch(stop)
            except (FleetError, TimeoutError) as error:
                log.info("revocation_watch_broken", error=getattr(error, "reason", "SILENCE"))
            finally:
                self.is_connected = False
            failures = 0 if self._heard != heard_before else failures + 1
            await _wait(stop, random.uniform(0.1, 0.3) * min(2**failures, 16))

    async def _watch(self, stop: asyncio.Event) -> None:
        call = self._stub.WatchRevocations(WatchRevocationsRequest(after_sequence=self._sequence))
        messages = aiter(call)
        stopped = asyncio.create_task(stop.wait())
        try:
            while True:
                nearest = asyncio.ensure_future(anext(messages))
                await asyncio.wait(
                    {nearest, stopped}, timeout=SILENCE.total_seconds(), return_when=asyncio.FIRST_COMPLETED
                )
                if not nearest.done():
                    nearest.cancel()
                    if stop.is_set():
                        return
                    raise TimeoutError
                self._take(nearest.result())
        except StopAsyncIteration:
            return
        finally:
            stopped.cancel()
            call.cancel()

    def _take(self, revocation: Revocation) -> None:
        self._heard = time.monotonic()
        self.is_connected = True
        self._sequence = max(self._sequence, revocation.sequence)
        if revocation.heartbeat:
            return
        try:
            self._apply(revocation)
        except FleetError:
            # One that can't be read must not silence those after it.
            log.exception("revocation_not_understood", sequence=revocation.sequence)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
