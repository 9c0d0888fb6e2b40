"""Who is calling, and the call that is being answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from chassis.errors import CredentialMissing
from definable.options.v1.options_pb2 import Rank

_NEVER = datetime.max.replace(tzinfo=UTC)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class CallerKind(StrEnum):
    """What kind of subject calls. Equal to its text, which is what tokens and rows hold."""

    USER = "user"
    API_KEY = "api_key"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller, as its context token describes it."""

    subject: str
    """user_…, key_… or "service:<name>"."""
    kind: str
    """One of CallerKind."""
    organization_id: UUID | None = None
    principal_id: UUID | None = None
    """The user acted for; an API key acts as the user who made it. None for a service that acts as itself."""
    rank: int = Rank.RANK_UNSPECIFIED
    grants: tuple[str, ...] = ()
    """Permissions by name, and patterns: `*`, `kb.*`, `kb.*.read`."""
    credential_id: str = ""
    """Session ("sess_…") or API key ("key_…") behind the token."""
    end_user: str | None = None
    """Whom an API key said it works for; part of the ownership of conversations and runs."""
    service: str | None = None
    """Process that auth minted the token for; None for the token of a client."""
    token: str = field(default="", repr=False)
    """The context token itself, to be forwarded. Never logged."""
    expire_time: datetime = _NEVER
    issue_time: datetime = _LONG_AGO
    requests_per_minute: int = 0
    """The limit of its credential; 0 is the gateway's default."""
    allowed_addresses: tuple[str, ...] = ()
    """Networks ("203.0.113.0/24") that the credential may be used from; empty is everywhere."""

    def may(self, permission: str, granted_to: int) -> bool:
        """Whether the caller has a permission that built-in ranks from `granted_to` up have.

        A grant that is the permission's full name suffices by itself. A pattern grants only what the rank reaches.
        Who calls for an end user never sees what belongs to all: `….read_all` is for people.
        """
        if self.end_user and permission.endswith("_all"):
            return False
        if permission in self.grants:
            return True
        return self.rank >= granted_to and any(_matches(grant, permission) for grant in self.grants)

    @property
    def is_process(self) -> bool:
        """Whether a process of the fleet calls, for itself or for somebody, and not a client through the gateway."""
        return self.service is not None


def _matches(pattern: str, permission: str) -> bool:
    if pattern == "*":
        return True
    wanted, given = pattern.split("."), permission.split(".")
    if wanted[-1] == "*" and len(wanted) < len(given):
        wanted += ["*"] * (len(given) - len(wanted))
    return len(wanted) == len(given) and all(part in ("*", other) for part, other in zip(wanted, given, strict=True))


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever did something, as rows and events keep it."""

    subject: str
    kind: str
    principal_id: UUID | None = None
    end_user: str | None = None

    @classmethod
    def of(cls, caller: Caller) -> "Actor":
        """Return the caller as an actor."""
        return cls(caller.subject, str(caller.kind), caller.principal_id, caller.end_user)

    @classmethod
    def service(cls, name: str) -> "Actor":
        """Return a process of the fleet, acting as itself."""
        return cls(f"service:{name}", CallerKind.SERVICE.value)


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The Idempotency-Key of a call, with what it was sent for."""

    key: str
    method: str
    """Full name of the RPC: "definable.kb.v1.DocumentService.DeleteDocument"."""
    request_hash: bytes
    """SHA-256 of the request's deterministic serialization."""


@dataclass(slots=True)
class CallContext:
    """The call that this task is answering."""

    caller: Caller | None = None
    request_id: str = ""
    method: str = ""
    """Full name of the RPC, with dots: "definable.kb.v1.DocumentService.GetDocument"."""
    idempotency: Idempotency | None = None
    client_address: str = ""
    deadline: float | None = None
    """On the clock of `time.monotonic`; None for a call without one."""
    if_match: str = ""
    """The etag that the client expects, without quotes; empty when it expects none."""
    traceparent: str = ""
    is_key_reserved: bool = False
    """Set by the first unit of work of the call, which reserves the idempotency key."""
    is_reply_stored: bool = False
    """Set by the unit of work that committed the reply of an idempotent call together with its effect."""


_call: ContextVar[CallContext | None] = ContextVar("call", default=None)


@contextmanager
def answering(call: CallContext) -> Iterator[CallContext]:
    """Make `call` the current call of this task until the end of the block."""
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)


def current_call() -> CallContext:
    """Return the call being answered. Raises LookupError outside of one, in a job or consumer."""
    call = _call.get()
    if call is None:
        raise LookupError("no call is being answered here")
    return call


def call_or_none() -> CallContext | None:
    """Return the call being answered, or None in a job or consumer."""
    return _call.get()


def current_caller() -> Caller:
    """Return who calls. Raises CredentialMissing, an Unauthenticated, when nobody does or nobody is known."""
    call = _call.get()
    if call is None or call.caller is None:
        raise CredentialMissing()
    return call.caller
