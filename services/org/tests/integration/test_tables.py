"""What the database itself refuses, with every other layer taken away."""

import pytest

from chassis.data import migrations
from org import models

from .running import Org, found  # noqa: TID252

TENANT_TABLES = sorted(models.Base.metadata.tables)


class TestRowLevelSecurity:
    @pytest.mark.parametrize("table", TENANT_TABLES)
    async def test_is_forced_on_every_table(self, org: Org, table: str) -> None:
        rows = await org.rows(
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = to_regclass($1)::oid", table
        )

        assert rows == [(True, True)]

    @pytest.mark.parametrize("table", ["org.organizations", "org.members"])
    async def test_shows_nothing_to_a_query_without_scope(self, org: Org, table: str) -> None:
        await found(org)

        assert await org.rows_as("app", f"SELECT count(*) FROM {table}") == [(0,)]

    async def test_shows_only_the_organization_of_the_transaction(self, org: Org) -> None:
        home, _ = await found(org), await found(org)

        rows = await org.rows_as("app", "SELECT organization_id FROM org.members", organization_id=home.organization_id)

        assert {row[0] for row in rows} == {home.organization_id}

    async def test_lets_nobody_write_into_another_organization(self, org: Org) -> None:
        home, other = await found(org), await found(org)
        statement = (
            "INSERT INTO org.members (organization_id, id, role, rank, revision)"
            f" VALUES ('{other.organization_id}', gen_random_uuid(), 'owner', 50, 1)"
        )

        refusal = await org.refusal_by_database("app", statement, organization_id=home.organization_id)

        assert refusal == "InsufficientPrivilegeError"

    async def test_lets_the_look_up_of_memberships_see_only_the_users_own(self, org: Org) -> None:
        home, _ = await found(org), await found(org)
        query = "SELECT id FROM org.memberships_of_current_user()"

        assert await org.rows_as("app", query) == []
        assert await org.rows_as("app", query, user_id=home.owner_uuid) == [(home.organization_id,)]

    @pytest.mark.parametrize("table", ["organizations", "members", "audit_entries", "usage_records", "feed_heads"])
    async def test_keeps_the_machinery_out_of_what_it_does_not_need(self, org: Org, table: str) -> None:
        assert await org.refusal_by_database("machinery", f"SELECT 1 FROM org.{table}") == "InsufficientPrivilegeError"


class TestMigrations:
    async def test_go_back_and_forth_and_agree_with_the_models(self, org: Org) -> None:
        settings = await org.a_fresh_database()

        await migrations.run(settings)
        await migrations.run(settings, target="base")
        await migrations.run(settings)

        assert await org.difference_to_models(settings) == []
