"""Turning facts of all services into feed, audit log, jobs and usage, and reading the feed."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from chassis.data.unit_of_work import Acquire
from chassis.errors import InvalidId
from chassis.ids import parse_any
from chassis.rpc.caller import Actor
from org import models
from org.domain import facts, job_views
from org.domain.errors import FeedSequenceExpired
from org.domain.facts import Fact
from org.domain.ports import Bell
from org.unit_of_work import OrgUnitOfWork

KEPT = timedelta(days=7)
_PATIENCE_SECONDS = 5.0  # how long a lost ring delays a watcher
_BATCH = 200
_MOST_BATCHES = 10


async def record(work: OrgUnitOfWork, fact: Fact) -> int:
    """Give a fact its place in the organization's order, with everything that follows from it. Answers its sequence.

    The caller makes sure that a fact is recorded once: the inbox row belongs to the same transaction.
    """
    sequence = await work.feed.take_sequence()
    work.feed.add(_feed_entry(fact, sequence=sequence, record_time=work.now()))
    if fact.is_audited:
        work.audit.add(_audit_entry(fact))
    if fact.is_job:
        await _report_job(work, fact)
    if fact.subject in (facts.RUN_USAGE, facts.EMBEDDING_USAGE):
        await _record_usage(work, fact)
    await work.feed.ring()
    return sequence


async def read(work: OrgUnitOfWork, *, after: int, type_prefix: str, limit: int) -> Sequence[models.FeedEntry]:
    """Read events after a sequence, oldest first. Raises FeedSequenceExpired when some of them are gone.

    After 0 means "everything that is kept" and is never refused.
    """
    if after > 0:
        oldest = await work.feed.oldest_sequence()
        lost = await work.feed.last_sequence() > after if oldest is None else oldest > after + 1
        if lost:
            raise FeedSequenceExpired(after=after)
    return await work.feed.after(after, type_prefix=type_prefix, limit=limit)


@dataclass(frozen=True)
class FeedPage:
    """Some visible events, and how far was read to find them."""

    entries: Sequence[models.FeedEntry]
    read_to: int
    has_more: bool


async def page(
    work: OrgUnitOfWork, *, after: int, type_prefix: str, limit: int, is_visible: Callable[[models.FeedEntry], bool]
) -> FeedPage:
    """Collect visible events after a sequence. Raises FeedSequenceExpired.

    At most 2,000 events are looked at, so a page may hold fewer than it could while there are more.
    """
    found: list[models.FeedEntry] = []
    for _ in range(_MOST_BATCHES):
        entries = await read(work, after=after, type_prefix=type_prefix, limit=_BATCH)
        for entry in entries:
            if is_visible(entry):
                found.append(entry)
            after = entry.sequence
            if len(found) == limit:
                return FeedPage(found, after, has_more=True)
        if len(entries) < _BATCH:
            return FeedPage(found, after, has_more=False)
    return FeedPage(found, after, has_more=True)


class WatchFeed:
    """Follow an organization's feed: no transaction is open while waiting."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork], bell: Bell) -> None:
        self._acquire = acquire
        self._bell = bell

    async def __call__(
        self,
        *,
        organization_id: UUID,
        actor: Actor,
        after: int,
        type_prefix: str,
        from_now: bool,
        is_visible: Callable[[models.FeedEntry], bool],
    ) -> AsyncIterator[models.FeedEntry]:
        """Yield visible events after a sequence, then each as it happens, without end."""
        # Listening starts before the first read: what commits in between rings.
        async with self._bell.listening(organization_id) as ring:
            if from_now:
                async with self._acquire.as_organization(organization_id, actor) as work:
                    after = await work.feed.last_sequence()
            while True:
                async with self._acquire.as_organization(organization_id, actor) as work:
                    last = await work.feed.last_sequence()
                    entries = await read(work, after=after, type_prefix=type_prefix, limit=_BATCH)
                for entry in entries:
                    after = entry.sequence
                    if is_visible(entry):
                        yield entry
                if len(entries) < _BATCH:
                    # Everything up to `last` was looked at, also what the prefix leaves out.
                    after = max(after, last)
                    await ring.wait(timeout=_PATIENCE_SECONDS)


def _feed_entry(fact: Fact, *, sequence: int, record_time: datetime) -> models.FeedEntry:
    return models.FeedEntry(
        sequence=sequence,
        event_id=fact.event_id,
        subject=fact.subject,
        time=fact.time,
        record_time=record_time,
        actor=fact.actor,
        principal_id=fact.principal_id,
        target=fact.target,
        data=dict(fact.data),
    )


def _audit_entry(fact: Fact) -> models.AuditEntry:
    return models.AuditEntry(
        id=fact.event_id,
        time=fact.time,
        actor=fact.actor,
        actor_kind=fact.actor_kind,
        subject=fact.subject,
        target=fact.target,
        before_digest=fact.before_digest,
        after_digest=fact.after_digest,
        client_address=fact.client_address,
        request_id=fact.request_id,
        data=dict(fact.data),
    )


_JOB_FIELDS = (
    "kind",
    "target",
    "state",
    "attempt",
    "progress_done",
    "progress_total",
    "progress_note",
    "error_reason",
    "create_time",
    "start_time",
    "end_time",
)
_A_NEW_JOB = {"state": job_views.QUEUED, "kind": "", "target": ""}
_JOB_TIMES = frozenset({"create_time", "start_time", "end_time"})


async def _report_job(work: OrgUnitOfWork, fact: Fact) -> None:
    data = fact.data
    job_id = _job_id(str(data.get("job_id", "")))
    if job_id is None or "create_time" not in data:
        return  # an event of a release newer than this one: there is nothing in it to show yet
    reported = {name: data[name] for name in _JOB_FIELDS if name in data}
    times = {name: datetime.fromisoformat(str(data[name])) for name in _JOB_TIMES if name in data}
    await work.job_views.merge(
        job_id, revision=fact.revision, service=fact.service, reported={**_A_NEW_JOB, **reported, **times}
    )


def _job_id(text: str) -> UUID | None:
    try:
        return parse_any(text)[1]
    except InvalidId:
        return None


async def _record_usage(work: OrgUnitOfWork, fact: Fact) -> None:
    data = fact.data
    is_run = fact.subject == facts.RUN_USAGE
    await work.usage.record(
        {
            "id": fact.event_id,
            "time": fact.time,
            "model": str(data.get("model", "")),
            "agent_id": str(data.get("agent_id", "")),
            "user_id": str(data.get("principal_id", "")),
            "key_id": str(data.get("key_id", "")),
            "runs": 1 if is_run else 0,
            "steps": data.get("steps", 0),
            "input_tokens": data.get("input_tokens", 0),
            "output_tokens": data.get("output_tokens", 0),
            "embedding_tokens": data.get("tokens", 0),
            "cost_nano_usd": data.get("cost_nano_usd", 0),
        }
    )
