"""From an HTTP request to the call of an RPC and back: who calls, what is sent, what the reply says in its headers."""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

import grpc
import orjson
from opentelemetry.trace import SpanKind

from chassis import telemetry
from chassis.errors import CredentialMissing, FleetError, InvalidId
from gateway.authentication import Authenticator
from gateway.bodies import parse_json
from gateway.channels import Channels
from gateway.errors import MalformedBody, UnsupportedMediaType
from gateway.exchange import REPLAYED_KEY, Exchange, Receive, Scope, Send
from gateway.limits import RateLimiter
from gateway.operations import PARAMETER, Kind, Operation, Table, Values
from gateway.problems import from_error
from gateway.settings import GatewaySettings
from gateway.values import Json

_JOB_ID = re.compile(r"job_([a-z]+)_[0-9a-z]{26}")


class Stubs:
    """The callables of operations, made at first use."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        # Weak, so that the operations of a table that was replaced can go.
        self._calls: WeakKeyDictionary[Operation, dict[str, Any]] = WeakKeyDictionary()

    def of(self, operation: Operation, values: Values) -> Any:
        """Return the callable of the service that answers. Raises DependencyUnavailable, InvalidId on a job's id."""
        service = service_behind(operation, values)
        if not operation.service and service not in self._channels.names:
            raise InvalidId(field="id", expected="job")
        calls = self._calls.setdefault(operation, {})
        if service not in calls:
            calls[service] = self._make(operation, self._channels.to(service))
        return calls[service]

    @staticmethod
    def _make(operation: Operation, channel: grpc.aio.Channel) -> Any:
        method = operation.method
        make = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            # A call of this kind that its service ends early loses the status in gRPC's stream_unary.
            (True, False): channel.stream_stream,
        }[method.client_streaming, method.server_streaming]
        return make(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=operation.request_class.SerializeToString,
            response_deserializer=operation.reply_class.FromString,
        )


def service_behind(operation: Operation, values: Values) -> str:
    """Return the service that answers: the operation's, or the one that a job's id names. Raises InvalidId."""
    if operation.service:
        return operation.service
    match = _JOB_ID.fullmatch(next(iter(values.values()), ""))
    if match is None:
        raise InvalidId(field="id", expected="job")
    return match[1]


Answer = Callable[[Exchange, Operation, Values], Awaitable[None]]


class Exposure:
    """ASGI: answers the routes of its table, and leaves everything else to the application below."""

    def __init__(
        self,
        table: Table,
        *,
        stubs: Stubs,
        authenticator: Authenticator,
        limiter: RateLimiter,
        settings: GatewaySettings,
    ) -> None:
        self.table = table
        self.stubs = stubs
        self._authenticator = authenticator
        self._limiter = limiter
        self._settings = settings
        self.answers: dict[Kind, Answer] = {Kind.UNARY: self._answer_unary}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer the request when it is for a route; whether it was."""
        exchange = Exchange(scope, receive, send)  # type: ignore[arg-type]  # the guard that BodyLimits put there
        service = body_field = ""
        try:
            matched = self.table.match(exchange.method, scope["raw_path"])
            if matched is None:
                return False
            operation, values = matched
            scope["state"]["operation"] = operation.name
            body_field = operation.body_field
            with telemetry.span(operation.name, kind=SpanKind.SERVER, parent=exchange.header(b"traceparent")):
                await self._admit(exchange, operation)
                service = service_behind(operation, values)
                await self.answers[operation.kind](exchange, operation, values)
        except (FleetError, grpc.aio.AioRpcError) as error:
            if exchange.has_started:
                raise
            await exchange.refuse(from_error(error, service=service, body_field=body_field))
        return True

    async def _admit(self, exchange: Exchange, operation: Operation) -> None:
        """Find out who calls, and whether that is too often."""
        key, limit = f"address:{exchange.client_address}", self._settings.limits.public_requests_per_minute
        if not operation.access.public:
            if not exchange.credential:
                raise CredentialMissing()
            caller = await self._authenticator.authenticate(exchange.credential, exchange.client_address)
            exchange.context_token = caller.token
            key, limit = caller.subject, caller.requests_per_minute or self._settings.limits.requests_per_minute
        allowance, refused = self._limiter.take(key, limit)
        exchange.reply_headers += allowance.headers()
        if refused:
            raise refused

    async def _answer_unary(self, exchange: Exchange, operation: Operation, values: Values) -> None:
        reply = await self.call_unary(exchange, operation, values)
        await respond(exchange, operation, reply)

    async def call_unary(self, exchange: Exchange, operation: Operation, values: Values) -> Any:
        """Call a unary RPC with what the request holds, and note in the reply's headers when it was a replay."""
        body = await self._read_json(exchange, required=operation.body != "*") if operation.body else None
        request = operation.request(values, exchange.query(), body)
        call = self.stubs.of(operation, values)(
            request,
            metadata=exchange.metadata(mutates=not operation.is_safe),
            timeout=self._settings.deadlines.unary_seconds,
        )
        reply = await call
        if not operation.is_safe and exchange.header(b"idempotency-key"):
            await note_replay(exchange, call)
        return reply

    async def _read_json(self, exchange: Exchange, *, required: bool) -> Json:
        text = await exchange.body.read()
        if not text and not required:
            return {}
        media_type = exchange.header(b"content-type").partition(";")[0].strip().lower()
        if text and media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaType(expected="application/json")
        if not text:
            raise MalformedBody("The body is empty; a JSON object is required.")
        return parse_json(text, depth=self._settings.limits.json_depth)


async def note_replay(exchange: Exchange, call: Any) -> None:
    """Tell the client when the reply is that of an earlier call with its Idempotency-Key."""
    for metadata in (await call.initial_metadata(), await call.trailing_metadata()):
        if any(key == REPLAYED_KEY and value == "true" for key, value in metadata or ()):
            exchange.reply_headers.append((b"idempotent-replayed", b"true"))
            return


async def respond(exchange: Exchange, operation: Operation, reply: Any) -> None:
    """Send a reply message as JSON, with the headers that follow from its fields."""
    headers = []
    if etag := getattr(reply, "etag", ""):
        headers.append((b"etag", f'"{etag}"'.encode("latin-1", "replace")))
    if operation.location is not None:
        headers.append((b"location", PARAMETER.sub(reply.id, operation.location.template).encode("latin-1", "replace")))
    await exchange.respond(operation.status, orjson.dumps(operation.write(reply)), headers)
