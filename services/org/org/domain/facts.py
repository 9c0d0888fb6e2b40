"""Facts from all services: what goes into the audit log, and who may see which in the feed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

AUDIT_PERMISSION = "org.audit.read"
JOBS_PERMISSION = "org.jobs.read"
USAGE_PERMISSION = "org.usage.read"

RUN_USAGE = "definable.agent.run.usage_recorded.v1"
EMBEDDING_USAGE = "definable.kb.embedding.usage_recorded.v1"

# Resources that belong to a person inside the organization; others see them only with `….read_all`.
_OWNED = frozenset({("conversation", "conversation"), ("conversation", "message"), ("agent", "run")})
_BOOKKEEPING = frozenset({"usage_recorded", "queued", "progressed"})


@dataclass(frozen=True)
class Fact:
    """Something that happened in a service, as its event told it."""

    event_id: UUID
    subject: str  # "definable.kb.document.indexed.v1"
    time: datetime
    actor: str
    actor_kind: str
    principal_id: UUID | None
    target: str
    before_digest: str
    after_digest: str
    client_address: str
    request_id: str
    revision: int  # of the target; rises with each of its events, whatever order they arrive in
    data: Mapping[str, Any]  # Any: JSON; the event's own fields, empty for an event of a release newer than this one

    @property
    def service(self) -> str:
        """The service that told it."""
        return _parts(self.subject)[0]

    @property
    def is_job(self) -> bool:
        """Whether it is about a job of any service."""
        return _parts(self.subject)[1] == "job"

    @property
    def is_audited(self) -> bool:
        """Whether somebody changed something or was refused; progress and bookkeeping are neither."""
        return _parts(self.subject)[2] not in _BOOKKEEPING


@dataclass(frozen=True)
class Visibility:
    """The permission that shows an event, and whether its own actor may see it with less."""

    permission: str
    granted_to: int
    owner_permission: tuple[str, int] | None = None


def visibility_of(subject: str, *, catalogue: Mapping[str, int], admin_rank: int) -> Visibility:
    """Say who sees an event: whoever may read the resource it is about.

    An event about nothing that a permission of the catalogue reads is for readers of the audit log. An event about an
    owned resource is for its actor, if allowed to read such resources at all, and for holders of `….read_all`.
    """
    service, resource, fact = _parts(subject)
    if resource == "job":
        return _of(JOBS_PERMISSION, catalogue, admin_rank)
    if fact == "usage_recorded":
        return _of(USAGE_PERMISSION, catalogue, admin_rank)
    for plural in _plurals(resource):
        permission = f"{service}.{plural}.read"
        if permission in catalogue and (service, resource) in _OWNED:
            return Visibility(f"{permission}_all", admin_rank, (permission, catalogue[permission]))
        if permission in catalogue:
            return Visibility(permission, catalogue[permission])
    return _of(AUDIT_PERMISSION, catalogue, admin_rank)


def _of(permission: str, catalogue: Mapping[str, int], admin_rank: int) -> Visibility:
    return Visibility(permission, catalogue.get(permission, admin_rank))


def _parts(subject: str) -> tuple[str, str, str]:
    """Split "definable.<service>.<resource>.<fact>.v1"; what is missing is empty."""
    _, service, resource, fact, *_ = [*subject.split("."), "", "", "", ""]
    return service, resource, fact


def _plurals(noun: str) -> tuple[str, ...]:
    return (f"{noun}s", f"{noun}es", f"{noun[:-1]}ies", noun)
