"""The connection to NATS: opened when first needed, kept for the process, optional."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import nats
import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from chassis import telemetry
from chassis.errors import DependencyUnavailable
from chassis.settings import NatsSettings

CONNECT_TIMEOUT_SECONDS = 2
RECONNECT_WAIT_SECONDS = 1
REQUEST_TIMEOUT_SECONDS = 5.0

BROKER_ERRORS = (nats.errors.Error, TimeoutError, OSError, DependencyUnavailable)
"""What fails when the broker is away or in trouble: reason to wait, never to stop."""

log = telemetry.get_logger(__name__)


class Broker:
    """One connection for all that a process publishes and consumes.

    It reconnects by itself for ever; in between its users fail and try again, since rows hold what must not be lost.
    """

    def __init__(self, settings: NatsSettings, *, name: str) -> None:
        self._settings = settings
        self._name = name
        self._client: Client | None = None
        self._opening = asyncio.Lock()
        self._on_reconnect: list[Callable[[], None]] = []

    @property
    def is_configured(self) -> bool:
        """Whether there is a broker at all; without one events wait in the outbox."""
        return bool(self._settings.url)

    async def connect(self) -> Client:
        """Return the open connection. Raises DependencyUnavailable when there is none."""
        async with self._opening:
            if self._client is None or self._client.is_closed:
                self._client = await self._open()
        if not self._client.is_connected:
            raise DependencyUnavailable(dependency="nats")
        return self._client

    async def jetstream(self) -> JetStreamContext:
        """Return the JetStream of the open connection. Raises DependencyUnavailable."""
        return (await self.connect()).jetstream(timeout=REQUEST_TIMEOUT_SECONDS)

    async def ping(self) -> None:
        """Return when the broker answers. Raises DependencyUnavailable otherwise."""
        try:
            await (await self.connect()).flush(timeout=1)
        except BROKER_ERRORS as error:
            raise DependencyUnavailable(dependency="nats") from error

    def when_reconnected(self, call: Callable[[], None]) -> None:
        """Call this each time the connection is back: what was told meanwhile may have been missed."""
        self._on_reconnect.append(call)

    async def close(self) -> None:
        """Close the connection, after what is being sent."""
        client, self._client = self._client, None
        if client is not None and not client.is_closed:
            try:
                await asyncio.wait_for(client.flush(), timeout=1) if client.is_connected else None
            except BROKER_ERRORS:
                log.warning("nats.unflushed_at_close")
            await client.close()

    async def _open(self) -> Client:
        client = Client()
        try:
            # The client library retries its first connection for ever when it may reconnect for ever.
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await client.connect(
                    servers=[self._settings.url],
                    name=self._name,
                    user=self._settings.user or None,
                    password=self._settings.password.get_secret_value() or None,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RECONNECT_WAIT_SECONDS,
                    connect_timeout=CONNECT_TIMEOUT_SECONDS,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    error_cb=_log_error,
                    disconnected_cb=_log_disconnect,
                    reconnected_cb=self._reconnected,
                )
        except BROKER_ERRORS as error:
            await client.close()
            raise DependencyUnavailable(dependency="nats") from error
        return client

    async def _reconnected(self) -> None:
        log.info("nats.reconnected")
        for call in self._on_reconnect:
            call()


async def _log_error(error: Exception) -> None:
    log.debug("nats.error", error=type(error).__name__)


async def _log_disconnect() -> None:
    log.warning("nats.disconnected")
