"""Usage."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Subquery,
    and_,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from chassis.data.repository import Repository
from org import models


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
        # Literals, not parameters: Postgres has to see the same expression in SELECT and GROUP BY.
        day = func.to_char(func.timezone(literal_column("'UTC'"), record.time), literal_column("'YYYY-MM-DD'"))
        columns: dict[str, ColumnElement[str]] = {
            "day": day,
            "model": record.model.expression,
            "agent_id": record.agent_id.expression,
            "user_id": record.user_id.expression,
        }
        groups: list[ColumnElement[Any]] = [columns[name] if name in dimensions else literal("") for name in columns]
        totals: list[ColumnElement[Any]] = [
            func.coalesce(func.sum(getattr(record, name)), 0).cast(BigInteger) for name in _USAGE_SUMS
        ]
        named: list[ColumnElement[Any]] = [
            column.label(name) for name, column in zip((*columns, *_USAGE_SUMS), (*groups, *totals), strict=True)
        ]
        grouped = (
            select(*named)
            .where(record.organization_id == self.organization_id, record.time >= start_time, record.time < end_time)
            .group_by(*(columns[name] for name in columns if name in dimensions))
        )
        rows = await self.session.execute(_usage_page(grouped.subquery("sums"), after=after, limit=limit))
        return [UsageSum(**row) for row in rows.mappings()]


def _usage_page(
    sums: Subquery, *, after: tuple[str, int, str, str, str] | None, limit: int
) -> Select[Any]:  # Any: the columns are those of UsageSum, whichever were grouped by
    order = sums.c.day.desc(), sums.c.cost_nano_usd.desc(), sums.c.model, sums.c.agent_id, sums.c.user_id
    page = select(*sums.c).order_by(*order).limit(limit)
    if after is None:
        return page
    day, cost, *names = after
    behind = tuple_(sums.c.model, sums.c.agent_id, sums.c.user_id) > tuple_(*names)
    cheaper = or_(sums.c.cost_nano_usd < cost, and_(sums.c.cost_nano_usd == cost, behind))
    return page.where(or_(sums.c.day < day, and_(sums.c.day == day, cheaper)))
