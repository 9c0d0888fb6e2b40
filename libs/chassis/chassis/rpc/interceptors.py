"""What stands before every servicer, in this order: errors, caller, access, validation, idempotency.

A request is not even parsed before its caller may make it. What a servicer raises goes back as google.rpc.Status: a
FleetError as it is, anything else as INTERNAL without a word of it, logged once. A stream ends when a revocation names
its caller. Nothing here knows a database; `Replies` is how chassis.data takes part in idempotency.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn, Protocol, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message
from opentelemetry.trace import SpanKind

from chassis import ids, telemetry
from chassis.errors import (
    CredentialMissing,
    DependencyUnavailable,
    FleetError,
    InternalOnly,
    PermissionMissing,
    UnexpectedFailure,
    Unimplemented,
    ValidationFailed,
    Violation,
)
from chassis.rpc import descriptors, status
from chassis.rpc.authentication import Authenticator
from chassis.rpc.caller import CallContext, Caller, Idempotency, answering
from chassis.rpc.refusals import Refusals
from chassis.rpc.revocations import IsRevoked, Revocations
from chassis.rpc.streams import Context, Handler, Stream
from chassis.rpc.validation import Validator, validator_for
from definable.options.v1.options_pb2 import Access

UNGUARDED = ("/grpc.health.v1.Health/",)
"""Services without access rules: they say nothing but whether the process serves."""
LONGEST_KEY = 255
LONGEST_REQUEST_ID = 128

_Metadata = Mapping[str, Any]  # Any: gRPC's values are text, or bytes under keys with -bin

__all__ = ["CallInterceptor", "Context", "Replies", "check_rules"]

log = telemetry.get_logger(__name__)


class Replies(Protocol):
    """Where the replies of idempotent calls are kept."""

    def replay_of(self, error: BaseException) -> Message | None:
        """Return the reply kept for this key when that is what the unit of work raised."""
        ...

    async def store(self, call: CallContext, reply: Message) -> None:
        """Keep the reply of a call whose unit of work reserved the key and stored none itself."""
        ...

    async def release(self, call: CallContext) -> None:
        """Give the key of a failed call back."""
        ...


@dataclass(frozen=True, slots=True)
class _Method:
    """An RPC as the interceptor needs it."""

    name: str
    access: Access
    parse: Callable[[bytes], Message]
    validator: Validator
    takes_key: bool

    @classmethod
    def of(cls, path: str, handler: Handler) -> "_Method":
        name = path.removeprefix("/").replace("/", ".")
        descriptor = descriptor_pool.Default().FindMethodByName(name)
        access = descriptors.access(descriptor)
        return cls(
            name=name,
            access=access,
            parse=cast("Callable[[bytes], Message]", handler.request_deserializer),
            validator=validator_for(descriptor.input_type),
            takes_key=not (access.public or handler.response_streaming or descriptors.is_read_only(descriptor)),
        )

    def request(self, raw: bytes) -> Message:
        """Parse and check a request. Raises ValidationFailed."""
        try:
            message = self.parse(raw)
        except DecodeError as error:
            raise ValidationFailed([Violation("", "is not a message of this RPC", "message")]) from error
        if violations := self.validator.violations(message):
            raise ValidationFailed(violations)
        return message


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handler of each RPC, once."""

    def __init__(
        self,
        *,
        service: str,
        authenticate: Authenticator,
        revocations: Revocations | None = None,
        refusals: Refusals | None = None,
        replies: Replies | None = None,
    ) -> None:
        self._service = service
        self._authenticate = authenticate
        self._revocations = revocations
        self._refusals = refusals or Refusals()
        self._replies = replies
        self._wrapped: dict[str, Handler] = {}
        self._streams: set[Stream] = set()
        self._in_flight = telemetry.rpc_in_flight.labels(service)
        # Looking a time series up costs as much as all the rest of measuring.
        self._seconds = cache(lambda method, code: telemetry.rpc_seconds.labels(service, method, code))
        if revocations is not None:
            revocations.subscribe(self._end_revoked)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the guarded handler of the RPC; None, for UNIMPLEMENTED, when there is no such RPC."""
        path = handler_call_details.method
        wrapped = self._wrapped.get(path)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None or path.startswith(UNGUARDED):
                return handler
            wrapped = self._wrapped[path] = self._wrap(_Method.of(path, handler), handler)
        return wrapped

    def _wrap(self, method: _Method, handler: Handler) -> Handler:
        kinds: dict[tuple[bool, bool], tuple[Callable[..., Handler], Any, Any]] = {
            (False, False): (grpc.unary_unary_rpc_method_handler, self._answer_unary, handler.unary_unary),
            (True, False): (grpc.stream_unary_rpc_method_handler, self._answer_upload, handler.stream_unary),
            (False, True): (grpc.unary_stream_rpc_method_handler, self._answer_stream, handler.unary_stream),
            (True, True): (grpc.stream_stream_rpc_method_handler, self._answer_both, handler.stream_stream),
        }
        make, answer, behavior = kinds[bool(handler.request_streaming), bool(handler.response_streaming)]

        async def guarded(request: Any, context: Context) -> Any:  # Any: bytes or an iterator of bytes; a message
            return await answer(method, behavior, request, context)

        return make(guarded, request_deserializer=None, response_serializer=handler.response_serializer)

    # --- the four kinds of RPC ---

    async def _answer_unary(self, method: _Method, behavior: Any, raw: bytes, context: Context) -> Message:
        async with self._edge(method, context) as (call, metadata):
            await self._admit(method, call, metadata)
            request = method.request(raw)
            return await self._once(method, call, metadata, context, request, lambda: behavior(request, context))
        raise AssertionError("unreachable: the edge aborts the call")

    async def _answer_upload(
        self, method: _Method, behavior: Any, raw: AsyncIterator[bytes], context: Context
    ) -> Message:
        async with self._edge(method, context) as (call, metadata):
            await self._admit(method, call, metadata)
            first = await anext(raw, None)
            if first is None:
                raise ValidationFailed([Violation("", "at least one message is required", "stream.min_items")])
            request = method.request(first)
            requests = _parsed(method, request, raw)
            return await self._once(method, call, metadata, context, request, lambda: behavior(requests, context))
        raise AssertionError("unreachable: the edge aborts the call")

    async def _answer_stream(self, method: _Method, behavior: Any, raw: bytes, context: Context) -> None:
        async with self._edge(method, context) as (call, metadata):
            await self._admit(method, call, metadata)
            request = method.request(raw)
            with self._endable(call.caller) as stream:
                await stream.send(behavior(request, context), context)

    async def _answer_both(self, method: _Method, behavior: Any, raw: AsyncIterator[bytes], context: Context) -> None:
        async with self._edge(method, context) as (call, metadata):
            await self._admit(method, call, metadata)
            with self._endable(call.caller) as stream:
                await stream.send(behavior(_parsed(method, None, raw), context), context)

    # --- errors ---

    @asynccontextmanager
    async def _edge(self, method: _Method, context: Context) -> AsyncIterator[tuple[CallContext, _Metadata]]:
        """Make the call current, and turn whatever is raised into a status."""
        metadata = _metadata(context)
        call = _call_of(method.name, metadata, context)
        code, started = "OK", time.perf_counter()
        name_token = telemetry.current_service.set(self._service)
        self._in_flight.inc()
        try:
            with answering(call), telemetry.span(method.name, kind=SpanKind.SERVER, parent=call.traceparent):
                try:
                    yield call, metadata
                except FleetError as error:
                    code = error.code.value
                    await _abort(context, error)
                except NotImplementedError:
                    code = "UNIMPLEMENTED"
                    await _abort(context, Unimplemented())
                except asyncio.CancelledError:
                    code = "CANCELLED"
                    raise
                except grpc.aio.AbortError:
                    code = "ABORTED_BY_SERVICER"
                    raise
                except Exception:  # the edge: whatever a servicer didn't foresee is logged here, once
                    code = "INTERNAL"
                    log.exception("call_failed")
                    await _abort(context, UnexpectedFailure())
        finally:
            telemetry.current_service.reset(name_token)
            self._in_flight.dec()
            self._seconds(method.name, code).observe(time.perf_counter() - started)

    # --- caller and access ---

    async def _admit(self, method: _Method, call: CallContext, metadata: _Metadata) -> None:
        """Find out who calls, and refuse who may not. Raises an Unauthenticated or PermissionDenied."""
        if method.access.public:
            return
        try:
            call.caller = await self._authenticate(_bearer(metadata))
            _check_access(method.access, call.caller)
        except FleetError as error:
            self._refusals.count(call, permission=method.access.permission, error=error)
            telemetry.refused_accesses.labels(self._service, error.reason).inc()
            raise

    @contextmanager
    def _endable(self, caller: Caller | None) -> Iterator[Stream]:
        """Let the stream in the block be ended by a revocation of its caller, or because the process stops."""
        stream = Stream(caller, cast("asyncio.Task[Any]", asyncio.current_task()))
        self._streams.add(stream)
        try:
            # It may have come between the check of the token and here.
            if caller is not None and self._revocations is not None and self._revocations.cover(caller):
                raise CredentialMissing()
            yield stream
        except asyncio.CancelledError:
            if stream.ended_by is None:
                raise
            stream.task.uncancel()
            raise stream.ended_by from None
        finally:
            self._streams.discard(stream)

    def end_streams(self) -> None:
        """End all streams with UNAVAILABLE: the process stops, and their readers should go on elsewhere."""
        for stream in list(self._streams):
            stream.end(DependencyUnavailable(dependency=self._service))

    def _end_revoked(self, is_revoked: IsRevoked) -> None:
        for stream in list(self._streams):
            if stream.caller is not None and is_revoked(stream.caller):
                stream.end(CredentialMissing())

    # --- idempotency ---

    async def _once(
        self,
        method: _Method,
        call: CallContext,
        metadata: _Metadata,
        context: Context,
        request: Message,
        answer: Callable[[], Awaitable[Message]],
    ) -> Message:
        """Answer, under the key of the call if it has one: a repeat gets the reply of the first time."""
        call.idempotency = _idempotency(method, request, metadata)
        if call.idempotency is None or self._replies is None:
            return await answer()
        try:
            reply = await answer()
        except Exception as error:
            kept = self._replies.replay_of(error)
            if kept is None:
                await self._settle(call, None)
                raise
            context.set_trailing_metadata((("idempotent-replayed", "true"),))
            return kept
        await self._settle(call, reply)
        return reply

    async def _settle(self, call: CallContext, reply: Message | None) -> None:
        """Keep the reply, or give the key of a failed call back, where no unit of work did."""
        if self._replies is None or not call.is_key_reserved or call.is_reply_stored:
            return
        try:
            await (self._replies.release(call) if reply is None else self._replies.store(call, reply))
        except FleetError as error:
            # The call has had its effect, or its error; that a repeat has to wait for the key changes neither.
            log.warning("idempotency_key_not_settled", reason=error.reason)


def check_rules(path_of_each_rpc: list[str]) -> None:
    """Raise AccessRuleMissing, RuleNotSupported or KeyError when the contract of an RPC can't be enforced."""
    for path in path_of_each_rpc:
        descriptor = descriptor_pool.Default().FindMethodByName(path.removeprefix("/").replace("/", "."))
        descriptors.access(descriptor)
        validator_for(descriptor.input_type)


async def _parsed(method: _Method, first: Message | None, raw: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    if first is not None:
        yield first
    async for item in raw:
        yield method.request(item)


async def _abort(context: Context, error: FleetError) -> NoReturn:
    answer = status.to_status(error)
    await context.abort(status.grpc_code(error.code), answer.message, status.trailing_metadata(answer))


def _call_of(method: str, metadata: _Metadata, context: Context) -> CallContext:
    remaining = cast("float | None", context.time_remaining())  # None without a deadline, whatever its types say
    return CallContext(
        request_id=_text(metadata, "x-request-id")[:LONGEST_REQUEST_ID] or f"req_{ids.new_id().hex}",
        method=method,
        client_address=_text(metadata, "x-client-address")[:64],
        deadline=None if remaining is None else time.monotonic() + remaining,
        if_match=_text(metadata, "if-match").removeprefix("W/").strip('"'),
        traceparent=_text(metadata, "traceparent"),
    )


def _metadata(context: Context) -> _Metadata:
    return dict(cast("Iterable[tuple[str, Any]] | None", context.invocation_metadata()) or ())


def _text(metadata: _Metadata, key: str) -> str:
    value: object = metadata.get(key, "")
    return value if isinstance(value, str) else ""


def _bearer(metadata: _Metadata) -> str:
    value = _text(metadata, "authorization")
    if value[:7].lower() != "bearer ":
        raise CredentialMissing()
    return value[7:]


def _check_access(access: Access, caller: Caller) -> None:
    if access.internal:
        if caller.service is None or (access.callers and caller.service not in access.callers):
            raise InternalOnly()
    elif access.permission and not caller.may(access.permission, access.granted_to):
        raise PermissionMissing(permission=access.permission)


def _idempotency(method: _Method, request: Message, metadata: _Metadata) -> Idempotency | None:
    key = _text(metadata, "idempotency-key")
    if not key or not method.takes_key:
        return None
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise ValidationFailed([Violation("Idempotency-Key", f"must have 1 to {LONGEST_KEY} characters", "header")])
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    return Idempotency(key, method.name, digest)
