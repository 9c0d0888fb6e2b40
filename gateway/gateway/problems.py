"""Errors as RFC 9457 `application/problem+json`: the one place where gRPC codes become HTTP statuses."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import grpc
import orjson

from chassis.errors import Code, FleetError, UnexpectedFailure, Violation
from chassis.rpc.status import from_rpc_error

MEDIA_TYPE: Final = b"application/problem+json"
MAX_DETAIL: Final = 4096
MAX_VIOLATIONS: Final = 20

STATUS_OF_CODE: Final[Mapping[str, int]] = {
    Code.INVALID_ARGUMENT: 422,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.FAILED_PRECONDITION: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
    Code.UNIMPLEMENTED: 501,
    Code.OUT_OF_RANGE: 422,
    Code.CANCELLED: 499,
}
STATUS_OF_REASON: Final[Mapping[str, int]] = {
    "MALFORMED_BODY": 400,
    "METHOD_NOT_ALLOWED": 405,
    "NOT_ACCEPTABLE": 406,
    "HEADERS_TOO_SLOW": 408,
    "ETAG_MISMATCH": 412,
    "BODY_TOO_LARGE": 413,
    "URL_TOO_LONG": 414,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "IDEMPOTENCY_KEY_REUSED": 422,
    "HEADERS_TOO_LARGE": 431,
    "TOO_MANY_IN_FLIGHT": 503,
}
_TITLES: Final = {499: "Client Closed Request"}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a client sees it."""

    code: str
    reason: str
    detail: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[Violation] = ()
    retry_after_seconds: float | None = None

    @property
    def status(self) -> int:
        """The HTTP status: of the reason where it has one of its own, else of the code."""
        if self.reason == "METHOD_NOT_ALLOWED" and "allow" not in self.metadata:
            return 501  # A service that doesn't know an RPC of its contract yet, not a route without the method.
        return STATUS_OF_REASON.get(self.reason) or STATUS_OF_CODE.get(self.code, 500)

    def render(self, *, request_id: str, instance: str) -> bytes:
        """Return the problem as JSON."""
        status = self.status
        return orjson.dumps(
            {
                "type": f"urn:definable:problem:{self.reason}",
                "title": _TITLES.get(status) or HTTPStatus(status).phrase,
                "status": status,
                "detail": self.detail[:MAX_DETAIL],
                "instance": instance,
                "reason": self.reason,
                "metadata": dict(self.metadata),
                "violations": [
                    {"field": v.field, "description": v.description, "rule": v.rule}
                    for v in self.violations[:MAX_VIOLATIONS]
                ],
                "request_id": request_id,
            }
        )

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that belong to the problem."""
        found: list[tuple[bytes, bytes]] = [(b"content-type", MEDIA_TYPE)]
        if self.retry_after_seconds is not None:
            found.append((b"retry-after", str(max(1, math.ceil(self.retry_after_seconds))).encode()))
        if self.status == 401:
            found.append((b"www-authenticate", b"Bearer"))
        if "allow" in self.metadata:
            found.append((b"allow", self.metadata["allow"].encode()))
        return found


def from_error(error: Exception, *, service: str = "", body_field: str = "") -> Problem:
    """Return the problem that an error is.

    `service` is who answered, named when it could not; paths of violations lose `body_field`, which the client's body
    doesn't have. What is neither ours nor a gRPC status becomes an INTERNAL without any of its text.
    """
    if isinstance(error, grpc.aio.AioRpcError):
        error = from_rpc_error(error, peer=service)
    if isinstance(error, FleetError):
        after = error.retry_after.total_seconds() if error.retry_after else None
        return Problem(
            error.code, error.reason, error.message, error.metadata, _of_body(error.violations, body_field), after
        )
    return from_error(UnexpectedFailure())


def _of_body(violations: Sequence[Violation], body_field: str) -> Sequence[Violation]:
    if not body_field:
        return violations
    prefix = f"{body_field}."
    return [Violation(v.field.removeprefix(prefix), v.description, v.rule) for v in violations]
