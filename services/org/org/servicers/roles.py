"""RoleService: read from the contracts that this process was built with."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from chassis.data.pagination import binding, decode_token, encode_token, page_limit
from chassis.errors import PageTokenInvalid
from chassis.rpc.server import Context
from definable.org.v1.role_service_pb2 import (
    ListPermissionsRequest,
    ListPermissionsResponse,
    ListRolesRequest,
    ListRolesResponse,
)
from definable.org.v1.role_service_pb2_grpc import RoleServiceServicer
from org import convert
from org.domain.roles import BUILT_IN_ROLES

Item = TypeVar("Item")


class Roles(RoleServiceServicer):
    """Answers about roles and permissions."""

    def __init__(self, catalogue: Mapping[str, int]) -> None:
        self._roles = [convert.role(role, catalogue) for role in BUILT_IN_ROLES]
        self._permissions = [convert.permission(name, rank) for name, rank in sorted(catalogue.items())]

    async def ListRoles(self, request: ListRolesRequest, context: Context) -> ListRolesResponse:
        page, token = _page(self._roles, "roles", request.page_size, request.page_token)
        return ListRolesResponse(roles=page, next_page_token=token)

    async def ListPermissions(self, request: ListPermissionsRequest, context: Context) -> ListPermissionsResponse:
        page, token = _page(self._permissions, "permissions", request.page_size, request.page_token)
        return ListPermissionsResponse(permissions=page, next_page_token=token)


def _page(items: Sequence[Item], name: str, page_size: int, page_token: str) -> tuple[Sequence[Item], str]:
    """Cut a page out of a list that only changes with a release. Raises PageTokenInvalid."""
    limit = page_limit(page_size)
    # The list is the same for everybody: nothing is gained by forging a token, so no secret signs it.
    bound_to = binding(b"", scope=name, filter_key=str(len(items)), order=())
    start = decode_token(page_token, bound_to=bound_to)[0] if page_token else 0
    if not isinstance(start, int) or not 0 <= start < len(items):
        raise PageTokenInvalid()
    end = start + limit
    return items[start:end], encode_token(bound_to, [end]) if end < len(items) else ""
