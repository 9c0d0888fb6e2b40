"""Server streams as server-sent events."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import grpc
import orjson

from chassis.errors import DependencyUnavailable
from gateway.errors import NotAcceptable, TooManyInFlight
from gateway.exchange import Exchange
from gateway.exposure import Exposure, respond
from gateway.operations import PARAMETER, Kind, Operation, Values
from gateway.problems import from_error
from gateway.settings import StreamSettings
from gateway.values import Problems

MEDIA_TYPE: Final = "text/event-stream"
_HEADERS: Final = [
    (b"content-type", MEDIA_TYPE.encode()),
    # Proxies that buffer would hold the first words of an answer back until the last.
    (b"x-accel-buffering", b"no"),
]
_FIRST_SECONDS: Final = 1.0  # to wait for a refusal, which is a better answer than a stream with an error in it
_NOT_YET: Final = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE)
_AGAIN_SECONDS: Final = 0.1
_PING: Final = b": ping\n\n"


class EventStreams:
    """Answers server-streaming RPCs, and unary ones whose work can be followed."""

    def __init__(self, exposure: Exposure, settings: StreamSettings, *, limit: int) -> None:
        self._exposure = exposure
        self._settings = settings
        self._limit = limit
        self._open: set[Any] = set()
        exposure.answers[Kind.EVENTS] = self.answer
        exposure.answers[Kind.UNARY] = self.answer_unary

    def end_all(self) -> None:
        """End all streams, since the gateway goes away; clients open them again where they were."""
        for call in list(self._open):
            call.cancel()

    async def answer(self, exchange: Exchange, operation: Operation, values: Values) -> None:
        """Stream the events of a server-streaming RPC. Raises NotAcceptable, and what the call does."""
        if not exchange.accepts(MEDIA_TYPE):
            raise NotAcceptable(available=MEDIA_TYPE)
        query = exchange.query()
        last = exchange.header(b"last-event-id")
        if last and "after" in operation.reader.kind.fields_by_name:
            # A browser that reconnects sends the header to the URL it began with: the header knows more.
            query["after"] = [last]
        await self._stream(exchange, operation, operation.request(values, query), values)

    async def answer_unary(self, exchange: Exchange, operation: Operation, values: Values) -> None:
        """Answer a unary RPC, with the stream that follows its work when the client asks for that by name."""
        follow = operation.follow
        reply = await self._exposure.call_unary(exchange, operation, values)
        followed = self._exposure.table.by_rpc.get(follow.method)
        if followed is None or not exchange.accepts(MEDIA_TYPE, named=True):
            await respond(exchange, operation, reply)
            return
        texts = {follow.field: str(getattr(reply, follow.field))}
        problems, request = Problems(), followed.request_class()
        followed.set_path(request, texts, problems)
        path = PARAMETER.sub(lambda found: texts.get(found[1], found[0]), followed.template)
        name = "x-" + follow.field.replace("_", "-")
        exchange.reply_headers += [
            (b"content-location", path.encode()),
            (name.encode(), texts[follow.field].encode("latin-1", "replace")),
        ]
        await self._stream(exchange, followed, request, texts, patience=self._settings.follow_seconds)

    async def _stream(
        self, exchange: Exchange, operation: Operation, request: Any, values: Values, *, patience: float = 0
    ) -> None:
        if len(self._open) >= self._limit:
            raise TooManyInFlight(retry_after=timedelta(seconds=1))
        call, first = await self._begin(exchange, operation, request, values, patience=patience)
        self._open.add(call)
        leaving = asyncio.ensure_future(_client_left(exchange))
        leaving.add_done_callback(lambda _: call.cancel())
        try:
            await exchange.start(200, _HEADERS)
            await exchange.write(b"retry: %d\n\n" % self._settings.retry_milliseconds)
            await self._pump(exchange, operation, call, first)
            await exchange.write(b"", more=False)
        finally:
            self._open.discard(call)
            leaving.cancel()
            call.cancel()

    async def _begin(
        self, exchange: Exchange, operation: Operation, request: Any, values: Values, *, patience: float
    ) -> tuple[Any, "asyncio.Future[Any]"]:
        """Open the stream and start reading it.

        What was just accepted exists within `patience` seconds, although the service that does it may only now be
        coming back: until then neither its absence nor the service's is an answer. Raises AioRpcError, and
        DependencyUnavailable when patience ends.
        """
        end = time.monotonic() + patience
        while True:
            call = self._exposure.stubs.of(operation, values)(request, metadata=exchange.metadata(mutates=False))
            try:
                return call, await self._first(call)
            except grpc.aio.AioRpcError as error:
                if not patience or error.code() not in _NOT_YET:
                    raise
                if time.monotonic() >= end:
                    raise DependencyUnavailable(dependency=operation.service) from error
            except asyncio.CancelledError:
                call.cancel()
                raise
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _first(self, call: Any) -> "asyncio.Future[Any]":
        """Start reading; wait a moment so that a refusal becomes a problem with its status. Raises AioRpcError."""
        reading: asyncio.Future[Any] = asyncio.ensure_future(call.read())
        done, _ = await asyncio.wait({reading}, timeout=_FIRST_SECONDS)
        if done and isinstance(error := reading.exception(), grpc.aio.AioRpcError):
            raise error
        return reading

    async def _pump(self, exchange: Exchange, operation: Operation, call: Any, first: "asyncio.Future[Any]") -> None:
        """Send events until the stream ends, with a comment whenever nothing was sent for a while."""
        frame = _Frames(operation)
        pinging = asyncio.ensure_future(self._ping(exchange))
        try:
            event = await first
            while event is not grpc.aio.EOF:
                await exchange.write(frame(event))
                event = await call.read()
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not call.cancelled():
                raise
            if isinstance(error, grpc.aio.AioRpcError) and error.code() != grpc.StatusCode.CANCELLED:
                problem = from_error(error, service=operation.service)
                body = problem.render(request_id=exchange.request_id, instance=exchange.path)
                await exchange.write(b"event: error\ndata: %s\n\n" % body)
        finally:
            pinging.cancel()

    async def _ping(self, exchange: Exchange) -> None:
        while True:
            await asyncio.sleep(self._settings.ping_seconds)
            await exchange.write(_PING)


class _Frames:
    """Turns a message into a frame: `seq`, `type` and `data` where it has them, else the whole message as data."""

    def __init__(self, operation: Operation) -> None:
        fields: Mapping[str, Any] = operation.method.output_type.fields_by_name
        self._is_event = {"seq", "type", "data"} <= set(fields)
        self._write = operation.codec.writer(fields["data"].message_type) if self._is_event else operation.write

    def __call__(self, message: Any) -> bytes:
        if not self._is_event:
            return b"data: %s\n\n" % orjson.dumps(self._write(message))
        data = orjson.dumps(self._write(message.data))
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (message.seq, message.type.encode(), data)


async def _client_left(exchange: Exchange) -> None:
    while (await exchange.body())["type"] != "http.disconnect":
        pass
