"""The organization's order of events."""

from collections.abc import Sequence

from sqlalchemy import (
    func,
    select,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from chassis.data.repository import Repository
from org import models

FEED_CHANNEL = "org_feed"


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
