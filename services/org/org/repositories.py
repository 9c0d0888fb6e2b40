"""All SQL of org. Every query is scoped to an organization; the few that are not say so in their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, insert, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.data.repository import Page, Repository
from org import models
from org.domain import job_views
from org.domain.errors import OrganizationSlugTaken


class OrganizationRepository(Repository[models.Organization]):
    """The organization itself: one row."""

    model = models.Organization

    async def current(self) -> models.Organization | None:
        """Read the organization."""
        return await self.first(self.query())

    async def lock(self) -> models.Organization | None:
        """Read the organization and hold it: members change one at a time."""
        return await self.first(self.query().with_for_update())

    async def insert(self, organization: models.Organization) -> None:
        """Insert the organization at once. Raises OrganizationSlugTaken and leaves the transaction usable."""
        try:
            async with self.session.begin_nested():
                self.session.add(organization)
        except IntegrityError as error:
            raise OrganizationSlugTaken(slug=organization.slug) from error

    async def rename_slug(self, organization: models.Organization, slug: str) -> None:
        """Give the organization another slug at once. Raises OrganizationSlugTaken and leaves the transaction usable."""
        try:
            async with self.session.begin_nested():
                organization.slug = slug
        except IntegrityError as error:
            raise OrganizationSlugTaken(slug=slug) from error


@dataclass(frozen=True)
class MembershipRow:
    """One organization as one of its members sees it."""

    id: UUID
    display_name: str
    slug: str
    create_time: datetime
    update_time: datetime
    revision: int
    role: str
    rank: int
    member_since: datetime


class MembershipRepository:
    """The organizations of the user the transaction speaks for, across tenants.

    Reads through a function of the database that takes no argument: whose memberships it shows is the transaction's user.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get_across_organizations(self, *, limit: int, after: tuple[datetime, UUID] | None = None) -> list[MembershipRow]:
        """List memberships, oldest first, from after a (member_since, id) on."""
        rows = await self._session.execute(
            text(
                "SELECT * FROM org.memberships_of_current_user() AS m"
                " WHERE CAST(:since AS timestamptz) IS NULL OR (m.member_since, m.id) > (:since, :id)"
                " ORDER BY m.member_since, m.id LIMIT :limit"
            ),
            {"since": after and after[0], "id": after and after[1], "limit": limit},
        )
        return [MembershipRow(**row) for row in rows.mappings()]


class MemberRepository(Repository[models.Member]):
    """Members, by the ids of their users."""

    model = models.Member

    async def owner_count(self) -> int:
        """Count the owners. Only meaningful under the organization's lock."""
        query = self.query().with_only_columns(func.count()).where(models.Member.role == "owner")
        return int(await self.session.scalar(query) or 0)

    async def oldest_first(self, *, role: str, page_size: int, page_token: str) -> Page[models.Member]:
        """List members, all or those with a role."""
        query = self.query().where(models.Member.role == role) if role else self.query()
        order = [(models.Member.create_time, "asc"), (models.Member.id, "asc")]
        return await self.page(query, order=order, page_size=page_size, page_token=page_token, filter_key=f"members:{role}")


class FeedRepository(Repository[models.FeedEntry]):
    """The organization's order of events."""

    model = models.FeedEntry

    async def take_sequence(self) -> int:
        """Take the next number; whoever else wants one waits until this transaction ends, so there are no gaps."""
        head = upsert(models.FeedHead).values(organization_id=self.organization_id, last_sequence=1)
        statement = head.on_conflict_do_update(
            index_elements=[models.FeedHead.organization_id],
            set_={"last_sequence": models.FeedHead.last_sequence + 1},
        ).returning(models.FeedHead.last_sequence)
        return int((await self.session.execute(statement)).scalar_one())

    async def ring(self) -> None:
        """Wake the watchers of the organization when the transaction commits."""
        await self.session.execute(select(func.pg_notify(FEED_CHANNEL, str(self.organization_id))))

    async def last_sequence(self) -> int:
        """The newest number, 0 when nothing ever happened."""
        query = select(models.FeedHead.last_sequence).where(models.FeedHead.organization_id == self.organization_id)
        return int(await self.session.scalar(query) or 0)

    async def oldest_sequence(self) -> int | None:
        """The oldest number still kept."""
        query = self.query().with_only_columns(func.min(models.FeedEntry.sequence))
        found = await self.session.scalar(query)
        return None if found is None else int(found)

    async def after(self, sequence: int, *, type_prefix: str, limit: int) -> Sequence[models.FeedEntry]:
        """Read on from a number, oldest first."""
        query = self.query().where(models.FeedEntry.sequence > sequence)
        if type_prefix:
            query = query.where(models.FeedEntry.subject.startswith(type_prefix, autoescape=True))
        return await self.all(query.order_by(models.FeedEntry.sequence).limit(limit))


class AuditRepository(Repository[models.AuditEntry]):
    """The log of changes and refusals. Rows are added and read."""

    model = models.AuditEntry

    async def newest_first(
        self,
        *,
        actor: str,
        subject_prefix: str,
        target: str,
        start_time: datetime | None,
        end_time: datetime | None,
        page_size: int,
        page_token: str,
    ) -> Page[models.AuditEntry]:
        """List entries that match all filters that are given."""
        entry = models.AuditEntry
        conditions: list[ColumnElement[bool]] = []
        if actor:
            conditions.append(entry.actor == actor)
        if subject_prefix:
            conditions.append(entry.subject.startswith(subject_prefix, autoescape=True))
        if target:
            conditions.append(entry.target == target)
        if start_time:
            conditions.append(entry.time >= start_time)
        if end_time:
            conditions.append(entry.time < end_time)
        return await self.page(
            self.query().where(*conditions),
            order=[(entry.time, "desc"), (entry.id, "desc")],
            page_size=page_size,
            page_token=page_token,
            filter_key=f"audit:{actor}:{subject_prefix}:{target}:{start_time}:{end_time}",
        )


_NOTHING_REPORTED = {
    "attempt": 0,
    "progress_done": 0,
    "progress_total": 0,
    "progress_note": "",
    "error_reason": "",
    "error_message": "",
}


class JobViewRepository(Repository[models.JobView]):
    """What was heard about the jobs of all services."""

    model = models.JobView

    async def merge(self, job_id: UUID, *, revision: int, reported: Mapping[str, object]) -> None:
        """Store what was reported unless a later report is stored already. One statement, so reports may race."""
        values = {**_NOTHING_REPORTED, **reported, "revision": revision}
        statement = upsert(models.JobView).values(organization_id=self.organization_id, id=job_id, **values)
        changed = {name: statement.excluded[name] for name in ("revision", *reported)}
        await self.session.execute(
            statement.on_conflict_do_update(
                index_elements=[models.JobView.organization_id, models.JobView.id],
                set_=changed,
                where=models.JobView.revision < revision,
            )
        )

    async def newest_first(
        self, *, state: str, kind: str, service: str, page_size: int, page_token: str
    ) -> Page[models.JobView]:
        """List jobs that match all filters that are given."""
        job = models.JobView
        wanted = [(job.state, state), (job.kind, kind), (job.service, service)]
        return await self.page(
            self.query().where(*(column == value for column, value in wanted if value)),
            order=[(job.create_time, "desc"), (job.id, "desc")],
            page_size=page_size,
            page_token=page_token,
            filter_key=f"jobs:{state}:{kind}:{service}",
        )


class BudgetRepository(Repository[models.BudgetReservation]):
    """Money set aside. Each change is one statement: callers race and repeat themselves."""

    model = models.BudgetReservation

    async def hold(
        self, reservation_id: UUID, *, principal: str, agent_id: str, amount_nano_usd: int, ttl: timedelta, now: datetime
    ) -> int | None:
        """Set an amount aside, or prolong the hold of that id. Answers what is granted; None when the hold has ended."""
        held = models.BudgetReservation
        statement = upsert(held).values(
            organization_id=self.organization_id,
            id=reservation_id,
            state="HELD",
            principal=principal,
            agent_id=agent_id,
            granted_nano_usd=amount_nano_usd,
            create_time=now,
            expire_time=func.now() + ttl,
        )
        statement = statement.on_conflict_do_update(
            index_elements=[held.organization_id, held.id],
            set_={"expire_time": statement.excluded.expire_time},
            where=and_(held.state == "HELD", held.expire_time > func.now()),
        )
        granted = await self.session.scalar(statement.returning(held.granted_nano_usd))
        return None if granted is None else int(granted)

    async def settle(self, reservation_id: UUID, *, actual_nano_usd: int) -> int | None:
        """Store what was spent; the first amount stays. Answers the amount that counts, None for an unknown id."""
        held = models.BudgetReservation
        statement = (
            update(held)
            .where(held.organization_id == self.organization_id, held.id == reservation_id)
            .values(
                state="SETTLED",
                actual_nano_usd=func.coalesce(held.actual_nano_usd, actual_nano_usd),
                settle_time=func.coalesce(held.settle_time, func.now()),
            )
            .returning(held.actual_nano_usd)
            .execution_options(synchronize_session=False)
        )
        settled = await self.session.scalar(statement)
        return None if settled is None else int(settled)


@dataclass(frozen=True)
class UsageSum:
    """Sums of one group; dimensions that were not asked for are empty."""

    day: str
    model: str
    agent_id: str
    user_id: str
    runs: int
    steps: int
    input_tokens: int
    output_tokens: int
    embedding_tokens: int
    cost_nano_usd: int

    @property
    def position(self) -> tuple[str, int, str, str, str]:
        """Where it stands in the order of a list."""
        return self.day, self.cost_nano_usd, self.model, self.agent_id, self.user_id


_USAGE_SUMS = ("runs", "steps", "input_tokens", "output_tokens", "embedding_tokens", "cost_nano_usd")


class UsageRepository(Repository[models.UsageRecord]):
    """What runs and embeddings took."""

    model = models.UsageRecord

    async def record(self, values: Mapping[str, object]) -> None:
        """Store one record, once by its id."""
        statement = upsert(models.UsageRecord).values(organization_id=self.organization_id, **values)
        await self.session.execute(statement.on_conflict_do_nothing())

    async def sums(
        self,
        *,
        dimensions: frozenset[str],
        start_time: datetime,
        end_time: datetime,
        after: tuple[str, int, str, str, str] | None,
        limit: int,
    ) -> list[UsageSum]:
        """Add usage up by "day", "model", "agent_id" and "user_id", newest day and highest cost first."""
        record = models.UsageRecord
        day = func.to_char(func.timezone("UTC", record.time), "YYYY-MM-DD")
        columns = {"day": day, "model": record.model, "agent_id": record.agent_id, "user_id": record.user_id}
        wanted = {name: column for name, column in columns.items() if name in dimensions}
        groups = [wanted.get(name, literal("")).label(name) for name in columns]
        totals = [func.coalesce(func.sum(getattr(record, name)), 0).label(name) for name in _USAGE_SUMS]
        grouped: Select[tuple[object, ...]] = (
            select(*groups, *totals)
            .where(record.organization_id == self.organization_id, record.time >= start_time, record.time < end_time)
            .group_by(*wanted.values())
        )
        rows = await self.session.execute(_usage_page(grouped, after=after, limit=limit))
        return [_usage_sum(row) for row in rows]


def _usage_page(
    grouped: Select[tuple[object, ...]], *, after: tuple[str, int, str, str, str] | None, limit: int
) -> Select[tuple[object, ...]]:
    sums = grouped.subquery("sums").c
    page = select(sums).order_by(
        sums.day.desc(), sums.cost_nano_usd.desc(), sums.model, sums.agent_id, sums.user_id
    )
    if after is not None:
        day, cost, *names = after
        behind = func.row(sums.model, sums.agent_id, sums.user_id) > func.row(*names)
        cheaper = or_(sums.cost_nano_usd < cost, and_(sums.cost_nano_usd == cost, behind))
        page = page.where(or_(sums.day < day, and_(sums.day == day, cheaper)))
    return page.limit(limit)


def _usage_sum(row: Row[tuple[object, ...]]) -> UsageSum:
    values = dict(row._mapping)
    return UsageSum(**{name: int(value) if name in _USAGE_SUMS else value for name, value in values.items()})


FEED_CHANNEL = "org_feed"


class UpkeepRepository:
    """What time does to rows of all organizations; works in a transaction of the machinery role only."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def expire_holds_across_organizations(self, *, limit: int) -> int:
        """End holds whose time is over. Answers how many."""
        held = models.BudgetReservation
        over = (
            select(held.organization_id, held.id)
            .where(held.state == "HELD", held.expire_time <= func.now())
            .order_by(held.expire_time)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("over")
        )
        statement = (
            update(held)
            .where(held.organization_id == over.c.organization_id, held.id == over.c.id)
            .values(state="EXPIRED")
            .returning(held.id)
            .execution_options(synchronize_session=False)
        )
        return len((await self._session.execute(statement)).all())

    async def discard_feed_across_organizations(self, *, older_than: timedelta) -> None:
        """Forget events recorded too long ago. Their numbers are not given again."""
        entry = models.FeedEntry
        await self._session.execute(delete(entry).where(entry.record_time < func.now() - older_than))

    async def discard_jobs_across_organizations(self, *, older_than: timedelta) -> None:
        """Forget jobs that finished too long ago."""
        job = models.JobView
        finished = job.state.in_(sorted(job_views.FINISHED))
        await self._session.execute(delete(job).where(finished, job.end_time < func.now() - older_than))
