"""The audit log."""

from datetime import datetime

from sqlalchemy import (
    ColumnElement,
)

from chassis.data.pagination import Page
from chassis.data.repository import Repository
from org import models


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
            order=[(entry.time, "desc")],
            page_size=page_size,
            page_token=page_token,
            filter_key=f"audit:{actor}:{subject_prefix}:{target}:{start_time}:{end_time}",
        )
