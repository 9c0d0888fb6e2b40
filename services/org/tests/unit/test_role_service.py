"""Roles and the catalogue as they are listed."""

from itertools import pairwise
from typing import cast

import pytest

from chassis.errors import PageTokenInvalid
from chassis.rpc import descriptors
from chassis.rpc.server import Context
from definable.org.v1.role_service_pb2 import ListPermissionsRequest, ListRolesRequest, Permission
from org.servicers.roles import Roles

CONTEXT = cast("Context", None)


@pytest.fixture
def roles() -> Roles:
    return Roles(descriptors.catalogue())


async def every_permission(roles: Roles, *, page_size: int) -> list[Permission]:
    found: list[Permission] = []
    token = ""
    while True:
        page = await roles.ListPermissions(ListPermissionsRequest(page_size=page_size, page_token=token), CONTEXT)
        found += page.permissions
        token = page.next_page_token
        if not token:
            return found


class TestListPermissions:
    async def test_is_the_catalogue_of_the_contracts(self, roles: Roles) -> None:
        listed = await every_permission(roles, page_size=200)

        assert [permission.name for permission in listed] == sorted(descriptors.catalogue())
        by_name = {permission.name: permission for permission in listed}
        assert by_name["org.audit.read"].granted_to == "admin"
        assert by_name["org.audit.read"].service == "org"

    async def test_pages_without_repeating_or_losing_any(self, roles: Roles) -> None:
        assert await every_permission(roles, page_size=7) == await every_permission(roles, page_size=200)

    @pytest.mark.parametrize("token", ["nonsense", "W10", "////"])
    async def test_refuses_tokens_it_did_not_give(self, roles: Roles, token: str) -> None:
        with pytest.raises(PageTokenInvalid):
            await roles.ListPermissions(ListPermissionsRequest(page_token=token), CONTEXT)

    async def test_refuses_the_token_of_another_list(self, roles: Roles) -> None:
        token = (await roles.ListPermissions(ListPermissionsRequest(page_size=1), CONTEXT)).next_page_token

        with pytest.raises(PageTokenInvalid):
            await roles.ListRoles(ListRolesRequest(page_token=token), CONTEXT)


class TestListRoles:
    async def test_lists_the_highest_first_with_all_they_hold(self, roles: Roles) -> None:
        listed = (await roles.ListRoles(ListRolesRequest(), CONTEXT)).roles

        assert [role.name for role in listed] == ["owner", "admin", "developer", "member", "viewer"]
        assert list(listed[0].permissions) == sorted(descriptors.catalogue())
        assert "org.audit.read" not in listed[2].permissions
        assert all(set(lower.permissions) <= set(higher.permissions) for higher, lower in pairwise(listed))
