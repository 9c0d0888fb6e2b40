"""Calls to the other processes of the fleet.

    peers = Peers(settings)
    agent = peers.stub(RunServiceStub, "agent")
    async with acting_for(organization_id, actor):
        run = await agent.StartRun(request)

A call carries, in this order of preference: the `authorization` given with it; inside `acting_for` or `as_service` a
token that auth minted for that; the token of the call being answered; towards auth an assertion of this process. The
AuthenticationService always gets the assertion. A unary call ends after ten seconds or with the call being answered, if
that is sooner. Failures are raised as FleetErrors: RemoteError with the peer's own reason, DependencyUnavailable when
nobody answered.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from opentelemetry.trace import SpanKind

from chassis import telemetry
from chassis.boundary import entering_network
from chassis.crypto import load_private_key
from chassis.errors import DependencyUnavailable, FleetError, Unauthenticated
from chassis.ids import new_id
from chassis.rpc import status
from chassis.rpc.acting import Acting, RemoteTokens, Tokens, acting, acting_for, as_service
from chassis.rpc.caller import call_or_none
from chassis.rpc.status import RemoteError
from chassis.rpc.tokens import AUTH, ProcessAssertion
from chassis.settings import ProcessSettings, ServiceSettings

__all__ = ["Channels", "Metadata", "Peers", "RemoteError", "acting_for", "as_service"]

DEFAULT_DEADLINE = timedelta(seconds=10)
SHAVED = 0.02
"""Seconds by which a call ends before the call that it serves, so that there is time to say why."""
AUTHENTICATION = "/definable.auth.v1.AuthenticationService/"

S = TypeVar("S")
Metadata = Sequence[tuple[str, str]]

_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.client_idle_timeout_ms", 300_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A pool of its own: two fleets in one process, as in tests, must not share a connection that is backing off.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 32 * 1024),
)


class Channels:
    """One channel to each peer, opened when it is first used."""

    def __init__(
        self, peers: Mapping[str, str], *, authority_file: Path | None = None, max_message_bytes: int = 4 * 1024 * 1024
    ) -> None:
        self._peers = dict(peers)
        self._authority_file = authority_file
        self._max_message_bytes = max_message_bytes
        self._channels: dict[str, grpc.aio.Channel] = {}

    def channel(self, peer: str) -> grpc.aio.Channel:
        """Return the channel to a peer. Raises KeyError when the settings don't name it."""
        if peer not in self._channels:
            self._channels[peer] = self._open(f"dns:///{self._peers[peer]}")
        return self._channels[peer]

    def names(self) -> Sequence[str]:
        """Return the peers that the settings name."""
        return sorted(self._peers)

    async def close(self) -> None:
        """Close all channels; calls in flight are cancelled."""
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))

    def _open(self, target: str) -> grpc.aio.Channel:
        options = [
            *_OPTIONS,
            ("grpc.max_receive_message_length", self._max_message_bytes),
            ("grpc.max_send_message_length", self._max_message_bytes),
        ]
        if self._authority_file is None:
            return grpc.aio.insecure_channel(target, options=options)
        credentials = grpc.ssl_channel_credentials(self._authority_file.read_bytes())
        return grpc.aio.secure_channel(target, credentials, options=options)


class Peers:
    """The other processes, as this one calls them.

    `tokens` mints tokens for `acting_for`; auth, which has the key, passes its own, everybody else asks auth.
    """

    def __init__(
        self, settings: ProcessSettings, *, tokens: Tokens | None = None, channels: Channels | None = None
    ) -> None:
        self.name = settings.name
        self.channels = channels or _channels_of(settings)
        self._key_file = settings.keys.private_key_file
        self._key: Ed25519PrivateKey | None = None
        self._tokens = tokens or RemoteTokens(lambda stub: self.stub(stub, AUTH))

    def stub(self, kind: Callable[[Any], S], peer: str) -> S:
        """Return a generated stub whose calls go to `peer` as this module describes."""
        return kind(FleetChannel(self, peer))

    def assertion(self) -> str:
        """Return a fresh assertion that this process asks. Raises OSError, ValueError without a readable key."""
        if self._key is None:
            if self._key_file is None:
                raise ValueError(f"{self.name.upper()}_KEYS__PRIVATE_KEY_FILE is not set")
            self._key = load_private_key(self._key_file)
        return ProcessAssertion.make(self.name, self._key)

    async def close(self) -> None:
        """Close the channels."""
        await self.channels.close()

    async def metadata(self, peer: str, path: str, given: Metadata | None = None) -> list[tuple[str, str]]:
        """Return the metadata of a call: `given`, completed by who calls and by what ties calls together."""
        metadata = list(given or ())
        present = {key for key, _ in metadata}
        if "authorization" not in present and (token := await self._token(peer, path)):
            metadata.append(("authorization", f"Bearer {token}"))
        call = call_or_none()
        context = {
            "x-request-id": call.request_id if call else f"req_{new_id().hex}",
            "traceparent": telemetry.current_traceparent(),
            "x-client-address": call.client_address if call else "",
        }
        metadata += [(key, value) for key, value in context.items() if value and key not in present]
        return metadata

    def forget(self, path: str) -> None:
        """Drop the token that a peer refused, so that the next call asks for a new one."""
        current = acting()
        if current is not None and not path.startswith(AUTHENTICATION):
            self._tokens.forget(current)

    async def _token(self, peer: str, path: str) -> str:
        current: Acting | None = acting()
        if path.startswith(AUTHENTICATION):
            return self.assertion()
        if current is not None:
            return await self._tokens.token(current)
        call = call_or_none()
        if call is not None and call.caller is not None and call.caller.token:
            return call.caller.token
        return self.assertion() if peer == AUTH else ""


class FleetChannel:
    """A channel as generated stubs see it; what they get from it calls as `Peers` says.

    The real channel is opened at the first call: stubs are made while wiring, before there is an event loop.
    """

    def __init__(self, peers: Peers, peer: str) -> None:
        self._peers = peers
        self._peer = peer

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> "UnaryCallable":
        """Return the callable of a unary RPC."""
        return UnaryCallable(self._peers, self._peer, method, "unary_unary", arguments, options)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> "UnaryCallable":
        """Return the callable of an RPC that takes a stream."""
        return UnaryCallable(self._peers, self._peer, method, "stream_unary", arguments, options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> "StreamCallable":
        """Return the callable of an RPC that answers with a stream."""
        return StreamCallable(self._peers, self._peer, method, "unary_stream", arguments, options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> "StreamCallable":
        """Return the callable of an RPC that takes and answers with streams."""
        return StreamCallable(self._peers, self._peer, method, "stream_stream", arguments, options)


class _Callable:
    def __init__(
        self, peers: Peers, peer: str, method: str, kind: str, arguments: Sequence[Any], options: Mapping[str, Any]
    ) -> None:
        self.peers = peers
        self.peer = peer
        self.method = method
        self.is_bounded = kind == "unary_unary"
        self._kind = kind
        self._arguments = arguments
        self._options = options
        self._inner: tuple[grpc.aio.Channel, Any] | None = None

    def open(self) -> Any:  # Any: gRPC's callable, of four kinds
        """Return what makes the call on the peer's channel. Raises DependencyUnavailable when the peer is not known."""
        try:
            channel = self.peers.channels.channel(self.peer)
        except KeyError:
            raise DependencyUnavailable(dependency=self.peer) from None
        if self._inner is None or self._inner[0] is not channel:
            make = getattr(channel, self._kind)
            self._inner = (channel, make(self.method, *self._arguments, **self._options))
        return self._inner[1]

    def error(self, error: grpc.aio.AioRpcError) -> FleetError:
        """Return the failure of a call as ours, and drop the token it was made with when that was refused."""
        failure = status.from_rpc_error(error, peer=self.peer)
        if failure.code == Unauthenticated.code:
            self.peers.forget(self.method)
        return failure

    def cancelled(self) -> BaseException:
        """Return what a CancelledError out of a call means: this task is cancelled, or just the call was.

        gRPC raises the same for both, and one that nobody meant for the task would end whole loops without a word.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return asyncio.CancelledError()
        return DependencyUnavailable(dependency=self.peer)


class UnaryCallable(_Callable):
    """What a stub's method is, for one answer."""

    def __call__(
        self,
        request: Message | AsyncIterator[Message],
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> "UnaryCall":
        """Make the call when awaited. `timeout` is in seconds."""
        return UnaryCall(self, request, timeout, metadata)


class UnaryCall(Awaitable[Any]):
    """A call that is made when it is awaited; afterwards it knows the metadata of the reply."""

    def __init__(
        self, callable_: UnaryCallable, request: object, timeout: float | None, metadata: Metadata | None
    ) -> None:
        self._callable = callable_
        self._request = request
        self._timeout = timeout
        self._metadata = metadata
        self._trailing: Mapping[str, str | bytes] = {}

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._run().__await__()

    def trailing_metadata(self) -> Mapping[str, str | bytes]:
        """Return the trailing metadata of the reply, empty before it is there."""
        return self._trailing

    async def _run(self) -> Message:
        made = self._callable
        entering_network(f"{made.peer}{made.method}")
        started, code = time.perf_counter(), "OK"
        with telemetry.span(made.method.lstrip("/"), kind=SpanKind.CLIENT, peer=made.peer):
            metadata = await made.peers.metadata(made.peer, made.method, self._metadata)
            timeout = _timeout(self._timeout, is_bounded=made.is_bounded)
            call = made.open()(self._request, timeout=timeout, metadata=metadata)
            try:
                reply = cast("Message", await call)
                self._trailing = dict(await call.trailing_metadata() or ())
                return reply
            except grpc.aio.AioRpcError as error:
                code = error.code().name
                raise made.error(error) from None
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise made.cancelled() from None
            finally:
                method = made.method.lstrip("/")
                telemetry.peer_seconds.labels(made.peer, method, code).observe(time.perf_counter() - started)


class StreamCallable(_Callable):
    """What a stub's method is, for a stream of answers."""

    def __call__(
        self,
        request: Message | AsyncIterator[Message],
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> "StreamCall":
        """Make the call when iterated; it has no deadline unless `timeout`, in seconds, is given."""
        return StreamCall(self, request, timeout, metadata)


class StreamCall:
    """A stream of answers. Leaving the loop before its end cancels the call at `aclose` or with the object."""

    def __init__(
        self, callable_: StreamCallable, request: object, timeout: float | None, metadata: Metadata | None
    ) -> None:
        self._callable = callable_
        self._request = request
        self._timeout = timeout
        self._metadata = metadata
        self._call: Any = None  # Any: gRPC's call
        self._is_cancelled = False

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterate()

    def cancel(self) -> None:
        """End the call; its loop ends, too."""
        self._is_cancelled = True
        if self._call is not None:
            self._call.cancel()

    async def _iterate(self) -> AsyncIterator[Any]:
        made = self._callable
        entering_network(f"{made.peer}{made.method}")
        metadata = await made.peers.metadata(made.peer, made.method, self._metadata)
        self._call = made.open()(self._request, timeout=self._timeout, metadata=metadata)
        try:
            async for message in self._call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise made.error(error) from None
        except asyncio.CancelledError:
            failure = made.cancelled()
            if self._is_cancelled and isinstance(failure, FleetError):
                return
            raise failure from None
        finally:
            self._call.cancel()


def _timeout(given: float | None, *, is_bounded: bool) -> float | None:
    """Return how many seconds a call may take: what is given or the default, no more than its own caller has left."""
    timeout = given if given is not None or not is_bounded else DEFAULT_DEADLINE.total_seconds()
    call = call_or_none()
    if call is None or call.deadline is None:
        return timeout
    left = max(call.deadline - time.monotonic() - SHAVED, 0.001)
    return left if timeout is None else min(timeout, left)


def _channels_of(settings: ProcessSettings) -> Channels:
    if isinstance(settings, ServiceSettings):
        grpc_settings = settings.grpc
        return Channels(
            settings.peers,
            authority_file=grpc_settings.tls_authority_file,
            max_message_bytes=grpc_settings.max_message_bytes,
        )
    return Channels(settings.peers)
