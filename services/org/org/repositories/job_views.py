"""Jobs of all services."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert as upsert

from chassis.data.pagination import Page
from chassis.data.repository import Repository
from org import models

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

    async def merge(self, job_id: UUID, *, revision: int, service: str, reported: Mapping[str, object]) -> None:
        """Store what was reported unless a later report is stored already. One statement, so reports may race."""
        values = {**_NOTHING_REPORTED, **reported, "service": service, "revision": revision}
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
            order=[(job.create_time, "desc")],
            page_size=page_size,
            page_token=page_token,
            filter_key=f"jobs:{state}:{kind}:{service}",
        )
