"""Keyset pages over real rows."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from shop.models import Article
from shop.unit_of_work import ShopUnitOfWork

from chassis.data.pagination import Order
from chassis.data.unit_of_work import Acquire
from chassis.errors import PageTokenInvalid, ValidationFailed
from chassis.ids import new_id
from chassis.rpc.caller import Actor

Shop = Acquire[ShopUnitOfWork]
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
async def organization_id(acquire: Shop) -> UUID:
    organization_id = new_id()
    async with acquire.as_organization(organization_id, Actor("", "")) as work:
        for number in range(25):
            work.articles.add(
                Article(
                    id=work.new_id(),
                    name=f"article {number:02}",
                    price=number % 4,
                    sold_at=None if number % 3 == 0 else START + timedelta(days=number % 5),
                )
            )
    return organization_id


async def walk(acquire: Shop, organization_id: UUID, order: Order, *, page_size: int) -> list[list[Article]]:
    pages, token = [], ""
    while True:
        async with acquire.as_organization(organization_id, Actor("", "")) as work:
            page = await work.articles.page(
                work.articles.query(), order=order, page_size=page_size, page_token=token, filter_key="all"
            )
        pages.append(list(page.items))
        token = page.next_page_token
        if not token:
            return pages


ORDERS: dict[str, Order] = {
    "unique": [(Article.name, "asc")],
    "descending": [(Article.name, "desc")],
    "with ties": [(Article.price, "asc")],
    "with ties, descending": [(Article.price, "desc")],
    "mixed": [(Article.price, "desc"), (Article.name, "asc")],
    "with nulls": [(Article.sold_at, "asc")],
    "with nulls, descending": [(Article.sold_at, "desc"), (Article.price, "asc")],
    "by id only": [],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
@pytest.mark.parametrize("page_size", [1, 7, 25, 100])
async def test_pages_joined_are_the_whole_list(
    acquire: Shop, organization_id: UUID, order: Order, page_size: int
) -> None:
    async with acquire.as_organization(organization_id, Actor("", "")) as work:
        sorted_by = [getattr(column, direction)() for column, direction in order]
        last = order[-1][1] if order else "asc"
        whole = await work.articles.all(work.articles.query().order_by(*sorted_by, getattr(Article.id, last)()))

    pages = await walk(acquire, organization_id, order, page_size=page_size)

    assert [row.id for page in pages for row in page] == [row.id for row in whole]
    assert all(len(page) == page_size for page in pages[:-1])


class TestPageToken:
    async def token(self, acquire: Shop, organization_id: UUID) -> str:
        async with acquire.as_organization(organization_id, Actor("", "")) as work:
            page = await work.articles.page(
                work.articles.query(), order=[(Article.name, "asc")], page_size=2, filter_key="all"
            )
        return page.next_page_token

    @pytest.mark.parametrize("change", ["filter", "order", "direction", "organization", "bytes", "garbage", "padding"])
    async def test_is_good_for_its_list_only(self, acquire: Shop, organization_id: UUID, change: str) -> None:
        token = await self.token(acquire, organization_id)
        orders: dict[str, Order] = {"order": [(Article.price, "asc")], "direction": [(Article.name, "desc")]}
        changed = token[:-3] + ("AAA" if token[-3:] != "AAA" else "BBB")
        tokens = {"bytes": changed, "garbage": "ÿ not base64 §", "padding": "="}

        with pytest.raises(PageTokenInvalid):
            async with acquire.as_organization(
                new_id() if change == "organization" else organization_id, Actor("", "")
            ) as work:
                await work.articles.page(
                    work.articles.query(),
                    order=orders.get(change, [(Article.name, "asc")]),
                    filter_key="some" if change == "filter" else "all",
                    page_token=tokens.get(change, token),
                )

    async def test_is_opaque(self, acquire: Shop, organization_id: UUID) -> None:
        assert "article" not in await self.token(acquire, organization_id)


class TestPageSize:
    async def test_is_50_unless_asked_for_and_200_at_most(self, acquire: Shop) -> None:
        organization_id = new_id()
        async with acquire.as_organization(organization_id, Actor("", "")) as work:
            for number in range(203):
                work.articles.add(Article(id=work.new_id(), name=f"{number}"))
            await work.session.flush()
            sizes = [
                len((await work.articles.page(work.articles.query(), order=[], page_size=size)).items)
                for size in (0, 1, 199, 1000)
            ]
        assert sizes == [50, 1, 199, 200]

    async def test_is_not_negative(self, acquire: Shop) -> None:
        with pytest.raises(ValidationFailed):
            async with acquire.as_organization(new_id(), Actor("", "")) as work:
                await work.articles.page(work.articles.query(), order=[], page_size=-1)
