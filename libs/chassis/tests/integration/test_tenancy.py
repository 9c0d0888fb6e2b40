"""What keeps organizations apart in the database."""

from uuid import UUID

import pytest
from shop.models import Article, Preference
from shop.unit_of_work import ArticleNameTaken, ShopUnitOfWork
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.data.database import Database, RoleTooPowerful, check_etag, engine_url, etag
from chassis.data.repository import ForeignRow
from chassis.data.unit_of_work import Acquire, NoOrganization
from chassis.errors import EtagMismatch
from chassis.ids import new_id
from chassis.rpc.caller import Actor, CallContext, Caller, answering
from chassis.testing.servers import SERVERS

Shop = Acquire[ShopUnitOfWork]


async def an_article(
    acquire: Shop, actor: Actor, *, organization_id: UUID | None = None, name: str = "Lamp", price: int = 0
) -> Article:
    async with acquire.as_organization(organization_id or new_id(), actor) as work:
        return work.articles.add(Article(id=work.new_id(), name=name, price=price))


async def found(work: ShopUnitOfWork, id: UUID) -> Article:
    article = await work.articles.get(id)
    assert article is not None
    return article


class TestRowLevelSecurity:
    async def test_a_query_without_scope_sees_own_rows_only(self, acquire: Shop, actor: Actor) -> None:
        mine, foreign = await an_article(acquire, actor), await an_article(acquire, actor)

        async with acquire.as_organization(mine.organization_id, actor) as work:
            seen = (await work.session.scalars(select(Article.id))).all()

        assert seen == [mine.id]
        assert foreign.id not in seen

    async def test_a_unit_without_organization_sees_nothing(self, acquire: Shop, actor: Actor) -> None:
        await an_article(acquire, actor)

        async with acquire.anonymous() as work:
            assert await work.session.scalar(select(func.count()).select_from(Article)) == 0

    async def test_a_foreign_row_cannot_be_written(self, acquire: Shop, actor: Actor) -> None:
        with pytest.raises(DBAPIError, match="row-level security"):
            async with acquire.as_organization(new_id(), actor) as work:
                await work.session.execute(
                    insert(Article).values(organization_id=new_id(), id=new_id(), name="x", price=0, revision=1)
                )

    async def test_a_foreign_row_cannot_be_changed(self, acquire: Shop, actor: Actor) -> None:
        foreign = await an_article(acquire, actor)

        async with acquire.as_organization(new_id(), actor) as work:
            change = update(Article).where(Article.id == foreign.id).values(name="mine").returning(Article.id)
            assert (await work.session.execute(change)).all() == []

    async def test_the_tenant_does_not_leak_through_the_pool(self, database: Database, acquire: Shop) -> None:
        for _ in range(12):
            async with acquire.as_organization(new_id(), Actor("", "")):
                pass
        for _ in range(12):
            async with database.app.connect() as connection:
                left = await connection.scalar(text("SELECT current_setting('app.organization_id', true)"))
            assert not left

    async def test_a_user_sees_own_rows_only(self, acquire: Shop) -> None:
        me, other = new_id(), new_id()
        for user in (me, other):
            async with acquire.as_user(user) as work:
                work.preferences.add(Preference(id=new_id(), colour="red"))

        async with acquire.as_user(me) as work:
            assert (await work.session.scalars(select(Preference.user_id))).all() == [me]

    async def test_the_machinery_may_not_touch_a_tenants_table(self, acquire: Shop) -> None:
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with acquire.machinery() as work:
                await work.session.execute(select(Article.id))

    async def test_a_global_table_is_read_only(self, acquire: Shop, actor: Actor) -> None:
        async with acquire.as_organization(new_id(), actor) as work:
            assert (await work.session.scalars(text("SELECT code FROM currencies ORDER BY 1"))).all() == ["EUR", "USD"]
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with acquire.as_organization(new_id(), actor) as work:
                await work.session.execute(text("DELETE FROM currencies"))

    async def test_a_security_definer_finds_one_row_across_organizations(self, acquire: Shop, actor: Actor) -> None:
        await an_article(acquire, actor, name="Rare", price=987_654)

        async with acquire.anonymous() as work:
            assert await work.session.scalar(text("SELECT shop.article_by_price(987654)")) == "Rare"

    async def test_every_table_of_the_schema_is_forced(self, database: Database) -> None:
        query = text(
            "SELECT relname FROM pg_class WHERE relnamespace = 'shop'::regnamespace AND relkind = 'r' "
            "AND NOT (relrowsecurity AND relforcerowsecurity)"
        )
        async with database.machinery.connect() as connection:
            assert set((await connection.scalars(query)).all()) == {"currencies", "alembic_version"}


class TestRoles:
    async def test_neither_role_can_pass_row_level_security(self, database: Database) -> None:
        await database.check_roles()

    async def test_a_superuser_is_refused(self, database: Database) -> None:
        address = SERVERS.postgres.address
        powerful = Database(database.settings, service="shop")
        superuser = create_async_engine(engine_url(database.settings, address.user, address.password))
        powerful.app = powerful.machinery = superuser
        with pytest.raises(RoleTooPowerful, match="postgres"):
            await powerful.check_roles()
        await powerful.close()


class TestRepository:
    async def test_refuses_a_row_of_somebody_else(self, acquire: Shop, actor: Actor) -> None:
        with pytest.raises(ForeignRow):
            async with acquire.as_organization(new_id(), actor) as work:
                work.articles.add(Article(organization_id=new_id(), id=new_id(), name="x"))

    async def test_does_not_get_a_foreign_row(self, acquire: Shop, actor: Actor) -> None:
        foreign = await an_article(acquire, actor)

        async with acquire.as_organization(new_id(), actor) as work:
            assert await work.articles.get(foreign.id) is None

    async def test_deletes(self, acquire: Shop, actor: Actor) -> None:
        article = await an_article(acquire, actor)

        async with acquire.as_organization(article.organization_id, actor) as work:
            await work.articles.delete(await found(work, article.id))
        async with acquire.as_organization(article.organization_id, actor) as work:
            assert await work.articles.get(article.id) is None


class TestUnitOfWork:
    async def test_rolls_back_on_an_error(self, acquire: Shop, actor: Actor) -> None:
        organization_id = new_id()
        with pytest.raises(RuntimeError, match="on purpose"):  # noqa: PT012 – the block is the unit of work
            async with acquire.as_organization(organization_id, actor) as work:
                work.articles.add(Article(id=new_id(), name="Ghost"))
                await work.session.flush()
                raise RuntimeError("on purpose")

        async with acquire.as_organization(organization_id, actor) as work:
            assert await work.articles.all() == []

    async def test_names_the_meaning_of_a_broken_constraint(self, acquire: Shop, actor: Actor) -> None:
        article = await an_article(acquire, actor, name="Chair")
        with pytest.raises(ArticleNameTaken):
            await an_article(acquire, actor, name="CHAIR", organization_id=article.organization_id)

    async def test_refuses_to_overwrite_what_changed_meanwhile(self, acquire: Shop, actor: Actor) -> None:
        article = await an_article(acquire, actor)
        organization_id = article.organization_id
        with pytest.raises(EtagMismatch):  # noqa: PT012 – the block is the unit of work
            async with acquire.as_organization(organization_id, actor) as slow:
                mine = await found(slow, article.id)
                async with acquire.as_organization(organization_id, actor) as fast:
                    (await found(fast, article.id)).price = 5
                mine.price = 7

        async with acquire.as_organization(organization_id, actor) as work:
            assert (await found(work, article.id)).price == 5

    async def test_has_no_organization_in_the_machinery(self, acquire: Shop) -> None:
        async with acquire.machinery() as work:
            with pytest.raises(NoOrganization):
                _ = work.organization_id

    async def test_keeps_one_time(self, acquire: Shop, actor: Actor) -> None:
        async with acquire.as_organization(new_id(), actor) as work:
            assert work.now() == work.now() == await work.session.scalar(select(func.now()))

    async def test_acts_for_the_caller_of_the_call(self, acquire: Shop) -> None:
        caller = Caller("key_1", "api_key", organization_id=new_id(), principal_id=new_id())
        with answering(CallContext(caller=caller)):
            async with acquire() as work:
                assert work.organization_id == caller.organization_id
                assert work.user_id == caller.principal_id
                assert work.actor == Actor.of(caller)


class TestEtag:
    async def test_changes_with_each_change(self, acquire: Shop, actor: Actor) -> None:
        article = await an_article(acquire, actor)
        before = etag(article)
        async with acquire.as_organization(article.organization_id, actor) as work:
            again = await found(work, article.id)
            assert etag(again) == before
            check_etag(again, f'"{before}"')
            again.price = 3
            await work.session.flush()
            assert etag(again) != before
            with pytest.raises(EtagMismatch):
                check_etag(again, before)
            check_etag(again, "*")

    async def test_compares_with_the_header_of_the_call(self, acquire: Shop, actor: Actor) -> None:
        article = await an_article(acquire, actor)
        with answering(CallContext(if_match="stale")), pytest.raises(EtagMismatch):
            check_etag(article)
        with answering(CallContext()):
            check_etag(article)
