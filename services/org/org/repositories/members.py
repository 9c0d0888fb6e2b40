"""Members."""

from sqlalchemy import func, select

from chassis.data.pagination import Page
from chassis.data.repository import Repository
from org import models


class MemberRepository(Repository[models.Member]):
    """Members, by the ids of their users."""

    model = models.Member

    async def next_change(self) -> int:
        """Number a change. Under the organization's lock later changes have higher numbers."""
        return int((await self.session.execute(select(func.nextval("org.membership_changes")))).scalar_one())

    async def owner_count(self) -> int:
        """Count the owners. Only meaningful under the organization's lock."""
        query = self.query().with_only_columns(func.count()).where(models.Member.role == "owner")
        return int(await self.session.scalar(query) or 0)

    async def oldest_first(self, *, role: str, page_size: int, page_token: str) -> Page[models.Member]:
        """List members, all or those with a role."""
        query = self.query().where(models.Member.role == role) if role else self.query()
        return await self.page(
            query,
            order=[(models.Member.create_time, "asc")],
            page_size=page_size,
            page_token=page_token,
            filter_key=f"members:{role}",
        )
