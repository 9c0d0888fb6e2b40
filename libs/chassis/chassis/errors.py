"""The one tree of errors. What a service raises is what its callers see; `chassis.rpc.status` puts it on the wire.

    FleetError
    ├── InvalidArgument        the request is wrong, whatever the state     ValidationFailed InvalidId PageTokenInvalid
    ├── Unauthenticated        nobody knows who calls                       CredentialMissing TokenExpired
    ├── PermissionDenied       the caller may not                           PermissionMissing InternalOnly
    ├── NotFound               no such thing, or none the caller may know   JobNotFound
    ├── AlreadyExists          the name is taken
    ├── FailedPrecondition     the state forbids it, retrying is no use     IdempotencyKeyReused JobNotCancellable
    ├── Aborted                somebody else was faster: read and retry     EtagMismatch IdempotencyKeyBusy
    ├── ResourceExhausted      a limit is reached                           RateLimited
    ├── OutOfRange             past the end of something
    ├── Unavailable            something is down: retry with backoff        DependencyUnavailable
    ├── DeadlineExceeded       it took too long                             CallTimedOut
    ├── Cancelled              the caller left
    ├── Unimplemented          there is no such operation
    └── Internal               a fault of ours                              UnexpectedFailure

A service subclasses these in `<service>/domain/errors.py`: the docstring's first line is the message, `reason` a value
of the service's `errors.proto`. Nothing here knows gRPC or HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar


class Code(StrEnum):
    """The gRPC status codes that an error can have, by name."""

    CANCELLED = "CANCELLED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    ABORTED = "ABORTED"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"
    UNAUTHENTICATED = "UNAUTHENTICATED"


# A second attempt at the same call may end differently with these, and only with these.
_RETRYABLE = frozenset(
    {Code.ABORTED, Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE}
)


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: which field (dotted path, "knowledge_base.display_name"), what is wrong, which rule says so."""

    field: str
    description: str
    rule: str = ""


class FleetError(Exception):
    """A failure that a caller is told about.

    `metadata` becomes strings that callers and their programs may read: ids, names, limits; never user text or secrets.
    `retry_after` is how long a caller should wait before trying again.
    """

    code: ClassVar[Code] = Code.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str | None = None,
        *,
        violations: Sequence[Violation] = (),
        retry_after: timedelta | None = None,
        **metadata: object,
    ) -> None:
        self.message = message or _first_line(type(self).__doc__)
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items() if value is not None}
        super().__init__(self.message)

    @property
    def domain(self) -> str:
        """Whose reason it is: the name of the service that defines the class, "fleet" for the common ones."""
        package = type(self).__module__.partition(".")[0]
        return "fleet" if package == "chassis" else package

    @property
    def is_retryable(self) -> bool:
        """Whether the same call, repeated, may end differently."""
        return self.code in _RETRYABLE


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0].strip()


class InvalidArgument(FleetError):
    """The request is not valid."""

    code = Code.INVALID_ARGUMENT
    reason = "VALIDATION_FAILED"


class Unauthenticated(FleetError):
    """A valid credential is required."""

    code = Code.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(FleetError):
    """The caller may not do this."""

    code = Code.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class NotFound(FleetError):
    """There is no such resource."""

    code = Code.NOT_FOUND
    reason = "ROUTE_NOT_FOUND"


class AlreadyExists(FleetError):
    """The resource exists already."""

    code = Code.ALREADY_EXISTS


class FailedPrecondition(FleetError):
    """The state of the resource does not allow this."""

    code = Code.FAILED_PRECONDITION


class Aborted(FleetError):
    """Another change came first; read again and retry."""

    code = Code.ABORTED


class ResourceExhausted(FleetError):
    """A limit has been reached."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "RATE_LIMITED"


class OutOfRange(FleetError):
    """The value is past the end of what exists."""

    code = Code.OUT_OF_RANGE


class Unavailable(FleetError):
    """The service can't answer at the moment."""

    code = Code.UNAVAILABLE
    reason = "DEPENDENCY_UNAVAILABLE"


class DeadlineExceeded(FleetError):
    """The call took longer than its deadline."""

    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class Cancelled(FleetError):
    """The call was cancelled by its caller."""

    code = Code.CANCELLED


class Unimplemented(FleetError):
    """There is no such operation."""

    code = Code.UNIMPLEMENTED
    reason = "METHOD_NOT_ALLOWED"


class Internal(FleetError):
    """Something went wrong on our side."""

    code = Code.INTERNAL


class ValidationFailed(InvalidArgument):
    """The request breaks the rules of its fields."""

    reason = "VALIDATION_FAILED"

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__(violations=violations)


class InvalidId(InvalidArgument):
    """The id is malformed or names another kind of resource."""

    reason = "INVALID_ID"

    def __init__(self, *, field: str, expected: str) -> None:
        wrong = Violation(field=field, description=f"must be an id of the form {expected}_…", rule="id")
        super().__init__(violations=[wrong], field=field, expected=expected)


class PageTokenInvalid(InvalidArgument):
    """The page token is malformed or belongs to another list."""

    reason = "PAGE_TOKEN_INVALID"


class CredentialMissing(Unauthenticated):
    """A valid credential is required."""

    reason = "UNAUTHENTICATED"


class TokenExpired(Unauthenticated):
    """The credential has expired."""

    reason = "TOKEN_EXPIRED"


class PermissionMissing(PermissionDenied):
    """The caller lacks the permission that this operation needs."""

    reason = "PERMISSION_DENIED"


class InternalOnly(PermissionDenied):
    """Only processes of the fleet may call this operation."""

    reason = "INTERNAL_ONLY"


class JobNotFound(NotFound):
    """There is no such job."""

    reason = "JOB_NOT_FOUND"


class JobNotCancellable(FailedPrecondition):
    """The job has ended already."""

    reason = "JOB_NOT_CANCELLABLE"


class IdempotencyKeyReused(FailedPrecondition):
    """The idempotency key was used for another request."""

    reason = "IDEMPOTENCY_KEY_REUSED"


class IdempotencyKeyBusy(Aborted):
    """A call with this idempotency key is being worked on."""

    reason = "IDEMPOTENCY_KEY_BUSY"


class EtagMismatch(Aborted):
    """The resource changed since it was read."""

    reason = "ETAG_MISMATCH"


class RateLimited(ResourceExhausted):
    """Too many calls."""

    reason = "RATE_LIMITED"


class DependencyUnavailable(Unavailable):
    """Something that this operation needs is down."""

    reason = "DEPENDENCY_UNAVAILABLE"

    def __init__(self, *, dependency: str, retry_after: timedelta | None = None) -> None:
        super().__init__(retry_after=retry_after or timedelta(seconds=1), dependency=dependency)


class CallTimedOut(DeadlineExceeded):
    """The call took longer than its deadline."""

    reason = "DEADLINE_EXCEEDED"


class UnexpectedFailure(Internal):
    """Something went wrong on our side; the request id finds it in our logs."""

    reason = "INTERNAL"
