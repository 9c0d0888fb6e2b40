"""What the database refuses by itself, and that the migrations make what the models say."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from agent.models import Base
from chassis.data import migrations
from chassis.rpc.caller import Caller
from chassis.testing.schema import migration_differences, table_problems

from .running import Fleet, fleet  # noqa: TID252

CONTENT = ("agents", "agent_versions", "runs", "run_steps")


class TestTables:
    async def test_are_protected(self, agent: Fleet) -> None:
        assert await table_problems(agent.agent.database, Base.metadata) == []

    async def test_are_what_the_migrations_make(self, agent: Fleet) -> None:
        assert await migration_differences(agent.agent.database, Base.metadata) == []

    async def test_go_back_and_forth(self) -> None:
        async with fleet() as alone:
            await migrations.run(alone.agent.settings, target="base")
            await migrations.run(alone.agent.settings)

            assert await migration_differences(alone.agent.database, Base.metadata) == []

    @pytest.mark.parametrize("table", [*CONTENT, "run_events", "run_leases"])
    async def test_show_nothing_to_a_query_without_scope(self, agent: Fleet, owner: Caller, table: str) -> None:
        await agent.publish(owner, "Seen by nobody")
        await agent.run(owner, "Hello")

        async with agent.agent.database.app.connect() as connection:
            assert await connection.scalar(text(f"SELECT count(*) FROM agent.{table}")) == 0

    @pytest.mark.parametrize("table", CONTENT)
    async def test_keep_the_machinery_out_of_content(self, agent: Fleet, table: str) -> None:
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with agent.agent.database.machinery.connect() as connection:
                await connection.execute(text(f"SELECT 1 FROM agent.{table}"))
