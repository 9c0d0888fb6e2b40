"""The database: models and migrations agree, and each wall between organizations stands alone."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from chassis.data import migrations
from chassis.data.database import TableKind
from chassis.rpc.caller import Actor, Caller
from kb import models
from kb.domain import ids
from kb.models import Base

from .running import Kb  # noqa: TID252

ACTOR = Actor.service("kb")


class TestMigrations:
    async def test_make_what_the_models_say(self, kb: Kb) -> None:
        def differences(connection: Connection) -> list[object]:
            options = migrations.configuration("kb", Base.metadata)
            return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

        engine = kb.owner_engine()
        async with engine.connect() as connection:
            found = await connection.run_sync(differences)
        await engine.dispose()

        assert found == []

    async def test_can_be_taken_back(self, kb: Kb) -> None:
        settings = kb.service.settings.model_copy(
            update={"database": kb.service.settings.database.model_copy(update={"name": "test_kb_downgrade"})}
        )
        await migrations.bootstrap(settings)
        await migrations.run(settings)
        await migrations.run(settings, target="base")
        await migrations.run(settings)


class TestRowLevelSecurity:
    async def test_is_forced_on_every_table(self, kb: Kb) -> None:
        engine = kb.owner_engine()
        async with engine.connect() as connection:
            rows = await connection.execute(
                text(
                    "SELECT relname FROM pg_class WHERE relnamespace = 'kb'::regnamespace AND relkind = 'r'"
                    " AND relname <> 'alembic_version' AND NOT (relrowsecurity AND relforcerowsecurity)"
                )
            )
            unprotected = [row[0] for row in rows]
        await engine.dispose()

        assert unprotected == []
        assert {mapper.class_.__table_kind__ for mapper in Base.registry.mappers} == {TableKind.TENANT}

    @pytest.mark.parametrize("model", [mapper.class_ for mapper in sorted(Base.registry.mappers, key=str)])
    async def test_hides_foreign_rows_from_a_query_without_a_scope(
        self, kb: Kb, owner: Caller, stranger: Caller, model: type[Base]
    ) -> None:
        base = await kb.a_base(owner)
        folder = await kb.a_folder(owner, base.id, "top")
        await kb.upload_file(owner, "a.txt", b"x")
        await kb.a_ready_text(owner, base.id, "Herons wait.", folder_id=folder.id)
        assert owner.organization_id is not None
        assert stranger.organization_id is not None
        statement = select(model.organization_id)  # type: ignore[attr-defined]  # every table of kb has it

        async with kb.acquire.as_organization(owner.organization_id, ACTOR) as work:
            mine = set(await work.session.scalars(statement))
        async with kb.acquire.as_organization(stranger.organization_id, ACTOR) as work:
            theirs = set(await work.session.scalars(statement))
        async with kb.acquire.anonymous() as work:
            nobodys = set(await work.session.scalars(statement))

        assert mine == {owner.organization_id}
        assert theirs == nobodys == set()

    async def test_lets_nobody_write_into_another_organization(self, kb: Kb, owner: Caller, stranger: Caller) -> None:
        base = await kb.a_base(owner)

        async def write() -> None:
            foreign = {"organization_id": owner.organization_id, "knowledge_base_id": ids.KNOWLEDGE_BASE.parse(base.id)}
            async with kb.acquire.as_organization(stranger.organization_id, ACTOR) as work:
                work.session.add(models.LexicalStatistics(**foreign, chunk_count=1, length_sum=1))

        with pytest.raises(DBAPIError, match="row-level security"):
            await write()

    async def test_the_scrub_learns_ids_of_organizations_only(self, kb: Kb) -> None:
        engine = kb.owner_engine()
        async with engine.connect() as connection:
            returned = await connection.scalar(
                text("SELECT pg_get_function_result('kb.organizations_with_stranded_documents'::regproc)")
            )
        await engine.dispose()

        assert returned == "SETOF uuid"
