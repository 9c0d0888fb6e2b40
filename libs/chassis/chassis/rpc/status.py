"""FleetError ↔ google.rpc.Status, which is how failures travel between processes.

A status carries ErrorInfo (reason, domain, metadata), BadRequest when fields are to blame and RetryInfo when waiting
helps. It goes into trailing metadata and so stays small: at most 20 violations and 4 KB.
"""

from collections.abc import Mapping
from datetime import timedelta

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]  # Google ships none

from chassis.errors import Code, DependencyUnavailable, FleetError, Violation

DETAILS_KEY = "grpc-status-details-bin"
MAX_VIOLATIONS = 20
MAX_BYTES = 4096
_MAX_TEXT = 300

Metadata = tuple[tuple[str, str | bytes], ...]


class RemoteError(FleetError):
    """A peer refused or failed a call: code, reason, domain, violations and metadata are the peer's own."""

    def __init__(
        self,
        *,
        code: Code,
        reason: str,
        message: str,
        domain: str = "fleet",
        violations: tuple[Violation, ...] = (),
        retry_after: timedelta | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, violations=violations, retry_after=retry_after)
        self.metadata = dict(metadata or {})
        self._domain = domain
        # Class variables of every other error; this one is many errors in one class.
        vars(self).update(code=code, reason=reason)

    @property
    def domain(self) -> str:
        """The peer that gave the reason, or the one behind it."""
        return self._domain


def to_status(error: FleetError) -> status_pb2.Status:
    """Return the status of an error, cut to size."""
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code.value), message=_cut(error.message))
    metadata = {_cut(key): _cut(value) for key, value in list(error.metadata.items())[:MAX_VIOLATIONS]}
    _add(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=error.domain, metadata=metadata))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(error.retry_after)
        _add(status, retry)
    violations = [_field_violation(violation) for violation in error.violations[:MAX_VIOLATIONS]]
    while violations and status.ByteSize() + _size(violations) > MAX_BYTES:
        violations.pop()
    if violations:
        _add(status, error_details_pb2.BadRequest(field_violations=violations))
    return status


def trailing_metadata(status: status_pb2.Status) -> Metadata:
    """Return the trailing metadata that carries a status."""
    return ((DETAILS_KEY, status.SerializeToString()),)


def grpc_code(code: Code) -> grpc.StatusCode:
    """Return gRPC's own value of a code."""
    return grpc.StatusCode[code.value]


def from_rpc_error(error: grpc.aio.AioRpcError, *, peer: str) -> FleetError:
    """Return the error that a peer answered with.

    A RemoteError when the peer, or gRPC in its name, answered; DependencyUnavailable when nobody did.
    """
    status = _status_of(error)
    if status is not None:
        return from_status(status)
    code = Code(error.code().name) if error.code().name in Code.__members__ else Code.INTERNAL
    if code is Code.UNAVAILABLE:
        return DependencyUnavailable(dependency=peer)
    reason = _REASONS_OF_GRPC.get(code, "INTERNAL")
    return RemoteError(code=code, reason=reason, message=_MESSAGES[reason], metadata={"dependency": peer})


# What gRPC itself answers with when the peer's code could not: without details, and in words that are not for clients.
_REASONS_OF_GRPC = {
    Code.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    Code.UNIMPLEMENTED: "METHOD_NOT_ALLOWED",
    Code.RESOURCE_EXHAUSTED: "BODY_TOO_LARGE",
    Code.UNAUTHENTICATED: "UNAUTHENTICATED",
}
_MESSAGES = {
    "DEADLINE_EXCEEDED": "The call took longer than its deadline.",
    "METHOD_NOT_ALLOWED": "There is no such operation.",
    "BODY_TOO_LARGE": "The message is larger than the limit.",
    "UNAUTHENTICATED": "A valid credential is required.",
    "INTERNAL": "Something went wrong on our side.",
}


def from_status(status: status_pb2.Status) -> RemoteError:
    """Return a status as an error to raise."""
    info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        for kind in (info, retry, bad):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(kind)
    return RemoteError(
        code=Code(code_pb2.Code.Name(status.code)),
        reason=info.reason or "INTERNAL",
        message=status.message,
        domain=info.domain or "fleet",
        violations=tuple(Violation(item.field, item.description, item.reason) for item in bad.field_violations),
        retry_after=retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None,
        metadata=info.metadata,
    )


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            try:
                status = status_pb2.Status.FromString(value if isinstance(value, bytes) else value.encode())
            except DecodeError:
                return None
            return status if status.code == error.code().value[0] else None
    return None


def _field_violation(violation: Violation) -> error_details_pb2.BadRequest.FieldViolation:
    return error_details_pb2.BadRequest.FieldViolation(
        field=_cut(violation.field), description=_cut(violation.description), reason=violation.rule
    )


def _size(violations: list[error_details_pb2.BadRequest.FieldViolation]) -> int:
    return int(error_details_pb2.BadRequest(field_violations=violations).ByteSize()) + 80  # the Any around it


def _add(
    status: status_pb2.Status,
    detail: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo | error_details_pb2.BadRequest,
) -> None:
    status.details.add().Pack(detail)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
