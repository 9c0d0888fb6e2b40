"""One HTTP request and its reply: headers in, headers out, and what of them travels to the service as gRPC metadata."""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl

from chassis import telemetry
from chassis.errors import ValidationFailed, Violation
from gateway.bodies import BodyGuard
from gateway.problems import Problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: Final = b"application/json"
REPLAYED_KEY: Final = "idempotent-replayed"
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MOST_PARAMETERS: Final = 100


class Exchange:
    """A request that is being answered."""

    def __init__(self, scope: Scope, body: BodyGuard, send: Send) -> None:
        self.scope = scope
        self.body = body
        self._send = send
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.request_id: str = scope["state"]["request_id"]
        self.client_address: str = scope["state"]["client_address"]
        self.context_token = ""
        self.reply_headers: Headers = []
        self.has_started = False

    def header(self, name: bytes) -> str:
        """Return a header of the request, empty when it is missing."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def credential(self) -> str:
        """The access token or API key, empty when there is none. `Authorization` wins over `X-API-Key`."""
        scheme, _, token = self.header(b"authorization").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else self.header(b"x-api-key").strip()

    def accepts(self, media_type: str, *, named: bool = False) -> bool:
        """Whether the client takes this type; with `named` only when it asks for it by name."""
        wanted = self.header(b"accept").lower()
        if named or not wanted:
            return media_type in wanted or (not named and not wanted)
        family = media_type.partition("/")[0]
        return media_type in wanted or "*/*" in wanted or f"{family}/*" in wanted

    def query(self) -> dict[str, list[str]]:
        """Return the query's parameters in order. Raises ValidationFailed when it can't be decoded."""
        text: bytes = self.scope["query_string"]
        found: dict[str, list[str]] = {}
        if not text:
            return found
        try:
            pairs = parse_qsl(
                text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
            )
        except ValueError as error:
            raise ValidationFailed([Violation("", "the query cannot be decoded", "query")]) from error
        for name, value in pairs:
            found.setdefault(name, []).append(value)
        return found

    def metadata(self, *, mutates: bool) -> tuple[tuple[str, str], ...]:
        """Return what travels with the call. Raises ValidationFailed on a malformed Idempotency-Key."""
        sent = [("x-request-id", self.request_id), ("x-client-address", self.client_address)]
        if self.context_token:
            sent.append(("authorization", f"Bearer {self.context_token}"))
        if _TRACEPARENT.fullmatch(trace := telemetry.current_traceparent() or self.header(b"traceparent")):
            sent.append(("traceparent", trace))
        if mutates and (key := self.header(b"idempotency-key")):
            if not _IDEMPOTENCY_KEY.fullmatch(key):
                description = "must be 1 to 255 printable ASCII characters"
                raise ValidationFailed([Violation("Idempotency-Key", description, "header")])
            sent.append(("idempotency-key", key))
        if (etag := _bare_etag(self.header(b"if-match"))) and etag.isascii() and etag.isprintable():
            sent.append(("if-match", etag))
        return tuple(sent)

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send status and headers."""
        self.has_started = True
        all_headers = [*headers, *self.reply_headers]
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """Send a piece of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def respond(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a whole JSON reply, or one without a body for 204."""
        length = [] if status == 204 else [(b"content-type", JSON), (b"content-length", b"%d" % len(body))]
        await self.start(status, [*length, *headers])
        await self.write(b"" if status == 204 else body, more=False)

    async def refuse(self, problem: Problem) -> None:
        """Send a problem. A body that was not read to its end is read a little further, then the connection closes."""
        body = problem.render(request_id=self.request_id, instance=self.path)
        headers = [*problem.headers(), (b"content-length", b"%d" % len(body))]
        if not await self.body.discard():
            headers.append((b"connection", b"close"))
        await self.start(problem.status, headers)
        await self.write(body, more=False)


def _bare_etag(header: str) -> str:
    """Return the etag of an If-Match header without quotes and weakness; `*` matches anything, like no header."""
    text = header.strip().removeprefix("W/").strip('"')
    return "" if text == "*" else text
