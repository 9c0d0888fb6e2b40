"""Repositories: every query starts from the rows of one organization, or of one user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, asc, desc, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.data.pagination import Order, Page, after, binding, decode_token, encode_token, page_limit

Row = TypeVar("Row")

PAGE_SECRET = "page_secret"
"""Where a unit of work leaves the key that signs page tokens, in `session.info`."""


class ForeignRow(RuntimeError):
    """A row of another owner was given to a repository: a programming error, never a caller's."""


class ScopedRepository(Generic[Row]):
    """What the repositories of both kinds share; `scope_column` is what binds a row to its owner."""

    model: type[Row]
    scope_column: str

    def __init__(self, session: AsyncSession, scope_id: UUID) -> None:
        self.session = session
        self._scope_id = scope_id

    def query(self) -> Select[Row]:
        """Return a select of the rows in scope, to be narrowed."""
        return select(self.model).where(self._column(self.scope_column) == self._scope_id)

    async def get(self, id: UUID) -> Row | None:
        """Return the row with this id, or None when the scope has none."""
        return await self.first(self.query().where(self._column("id") == id))

    async def first(self, statement: Select[Row]) -> Row | None:
        """Return the first row of a statement made from `query()`."""
        return (await self.session.scalars(statement.limit(1))).first()

    async def all(self, statement: Select[Row] | None = None) -> Sequence[Row]:
        """Return all rows of a statement made from `query()`; only for sets that are small by nature."""
        return (await self.session.scalars(self.query() if statement is None else statement)).all()

    def add(self, row: Row) -> Row:
        """Add a row to the scope and return it; it is written at the next flush.

        Raises ForeignRow when the row already belongs to somebody else.
        """
        owner = getattr(row, self.scope_column)
        if owner not in (None, self._scope_id):
            raise ForeignRow(f"{self.model.__name__} belongs to another {self.scope_column}")
        setattr(row, self.scope_column, self._scope_id)
        self.session.add(row)
        return row

    async def delete(self, row: Row) -> None:
        """Delete a row at the next flush."""
        await self.session.delete(row)

    async def page(
        self,
        statement: Select[Row],
        *,
        order: Order,
        page_size: int = 0,
        page_token: str = "",
        filter_key: str = "",
    ) -> Page[Row]:
        """Return one page of a statement made from `query()`.

        `order` is completed by the id, so that rows equal in it neither repeat nor vanish. `filter_key` names the
        filter in the statement: a token of another filter, order or owner raises PageTokenInvalid.
        """
        limit, total_order = page_limit(page_size), self._total(order)
        secret = self.session.info.get(PAGE_SECRET, b"")
        bound_to = binding(secret, scope=self._scope_id.hex, filter_key=filter_key, order=total_order)
        if page_token:
            statement = statement.where(after(total_order, decode_token(page_token, bound_to=bound_to)))
        sorted_by = [asc(column) if direction == "asc" else desc(column) for column, direction in total_order]
        rows = await self.all(statement.order_by(None).order_by(*sorted_by).limit(limit + 1))
        if len(rows) <= limit:
            return Page(rows)
        last = rows[limit - 1]
        return Page(rows[:limit], encode_token(bound_to, [getattr(last, column.key) for column, _ in total_order]))

    def _total(self, order: Order) -> Order:
        identity = self._column("id")
        if any(column.key == identity.key for column, _ in order):
            return order
        return [*order, (identity, order[-1][1] if order else "asc")]

    def _column(self, name: str) -> Any:  # Any: an attribute of the model that only its class knows
        return getattr(self.model, name)


class Repository(ScopedRepository[Row]):
    """The rows of one organization: `class Documents(Repository[models.Document]): model = models.Document`."""

    scope_column = "organization_id"

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        super().__init__(session, organization_id)
        self.organization_id = organization_id


class UserRepository(ScopedRepository[Row]):
    """The rows of one user; where the rows are the users themselves, set `scope_column = "id"`."""

    scope_column = "user_id"

    def __init__(self, session: AsyncSession, user_id: UUID) -> None:
        super().__init__(session, user_id)
        self.user_id = user_id
