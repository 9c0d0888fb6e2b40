"""Every RPC as nobody, a stranger, a low role, and one who may: refused before anything is looked at."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

import pytest

from chassis.errors import FleetError
from chassis.ids import ORGANIZATION, USER, new_id
from chassis.rpc import descriptors
from chassis.testing import refused
from definable.options.v1.options_pb2 import Rank
from definable.org.v1 import (
    audit_service_pb2 as audit,
)
from definable.org.v1 import (
    budget_service_pb2 as budget,
)
from definable.org.v1 import (
    event_service_pb2 as event,
)
from definable.org.v1 import (
    job_list_service_pb2 as job_list,
)
from definable.org.v1 import (
    member_service_pb2 as member,
)
from definable.org.v1 import (
    membership_service_pb2 as membership,
)
from definable.org.v1 import (
    organization_service_pb2 as organization,
)
from definable.org.v1 import (
    role_service_pb2 as role,
)
from definable.org.v1 import (
    usage_service_pb2 as usage,
)

from .running import Org, an_address, found  # noqa: TID252

Request = Callable[[str], Any]  # Any: each RPC has a request of its own

A_USER = USER.show(new_id())

# RPC → a request that passes validation, made from the id of a member of the caller's organization.
REQUESTS: Mapping[str, Request] = {
    "OrganizationService.CreateOrganization": lambda _: organization.CreateOrganizationRequest(
        organization=organization.Organization(display_name="x")
    ),
    "OrganizationService.ListOrganizations": lambda _: organization.ListOrganizationsRequest(),
    "OrganizationService.GetOrganization": lambda _: organization.GetOrganizationRequest(),
    "OrganizationService.UpdateOrganization": lambda _: organization.UpdateOrganizationRequest(
        organization=organization.Organization(display_name="x")
    ),
    "OrganizationService.LeaveOrganization": lambda _: organization.LeaveOrganizationRequest(),
    "MemberService.CreateMember": lambda _: member.CreateMemberRequest(email=an_address(), role="viewer"),
    "MemberService.ListMembers": lambda _: member.ListMembersRequest(),
    "MemberService.GetMember": lambda user_id: member.GetMemberRequest(user_id=user_id),
    "MemberService.UpdateMember": lambda user_id: member.UpdateMemberRequest(
        member=member.Member(user_id=user_id, role="member")
    ),
    "MemberService.DeleteMember": lambda user_id: member.DeleteMemberRequest(user_id=user_id),
    "RoleService.ListRoles": lambda _: role.ListRolesRequest(),
    "RoleService.ListPermissions": lambda _: role.ListPermissionsRequest(),
    "AuditService.ListAuditEntries": lambda _: audit.ListAuditEntriesRequest(),
    "EventService.ListEvents": lambda _: event.ListEventsRequest(),
    "EventService.WatchEvents": lambda _: event.WatchEventsRequest(),
    "JobListService.ListJobs": lambda _: job_list.ListJobsRequest(),
    "UsageService.ListUsage": lambda _: usage.ListUsageRequest(),
    "MembershipService.ProvisionOrganization": lambda _: membership.ProvisionOrganizationRequest(
        organization_id=ORGANIZATION.show(new_id()), owner_user_id=A_USER, display_name="x"
    ),
    "MembershipService.ResolveMembership": lambda user_id: membership.ResolveMembershipRequest(
        organization_id=ORGANIZATION.show(new_id()), user_id=user_id
    ),
    "MembershipService.ListMembershipsOfUser": lambda user_id: membership.ListMembershipsOfUserRequest(user_id=user_id),
    "BudgetService.ReserveBudget": lambda _: budget.ReserveBudgetRequest(
        reservation_id=str(uuid4()), amount_nano_usd=1
    ),
    "BudgetService.SettleBudget": lambda _: budget.SettleBudgetRequest(reservation_id=str(uuid4())),
}
RULES = {
    name.removeprefix("definable.org.v1."): descriptors.access(method)
    for name, method in descriptors.methods()
    if name.startswith("definable.org.v1.")
}
INTERNAL = sorted(name for name, rule in RULES.items() if rule.internal)
PERMITTED = sorted(name for name, rule in RULES.items() if rule.permission)
OPEN = sorted(name for name, rule in RULES.items() if rule.authenticated)


def test_every_rpc_has_a_row() -> None:
    assert sorted(REQUESTS) == sorted(RULES)
    assert sorted([*INTERNAL, *PERMITTED, *OPEN]) == sorted(RULES)


def call(org: Org, rpc: str, caller: object, request: object) -> Awaitable[object]:
    """Make a call; of a stream the first answer is awaited."""
    answer = getattr(org.stub_of(rpc, caller), rpc.partition(".")[2])(request)
    return _first(answer) if rpc.endswith("WatchEvents") else answer


async def _first(stream: Any) -> object:  # Any: the stream of a generated stub
    async for message in stream:
        return message
    return None


async def reason_of(answer: Awaitable[object]) -> str:
    """Await an answer and name the reason it was refused for, "" when it was not."""
    try:
        await answer
    except FleetError as error:
        return error.reason
    return ""


@pytest.mark.parametrize("rpc", sorted(RULES))
async def test_nobody_is_refused(org: Org, rpc: str) -> None:
    with refused("UNAUTHENTICATED"):
        await call(org, rpc, None, REQUESTS[rpc](A_USER))


@pytest.mark.parametrize("rpc", INTERNAL)
async def test_no_client_and_no_other_process_reaches_what_is_internal(org: Org, rpc: str) -> None:
    home = await found(org)

    for caller in (home.owner, org.api_key_of(home), org.a_process("tool", home)):
        assert await reason_of(call(org, rpc, caller, REQUESTS[rpc](A_USER))) == "INTERNAL_ONLY"


@pytest.mark.parametrize("rpc", PERMITTED)
async def test_a_role_below_is_refused_before_validation(org: Org, rpc: str) -> None:
    home = await found(org)
    below = max((rank for rank in Rank.values() if rank < RULES[rpc].granted_to), default=0)
    caller = org.authority.caller(rank=Rank.ValueType(below), organization_id=home.organization_id)
    nonsense = type(REQUESTS[rpc](A_USER))()

    assert await reason_of(call(org, rpc, caller, nonsense)) == "PERMISSION_DENIED"


@pytest.mark.parametrize("rpc", PERMITTED)
async def test_a_key_without_the_grant_is_refused_whatever_its_rank(org: Org, rpc: str) -> None:
    home = await found(org)
    caller = org.authority.caller(
        rank=Rank.OWNER, organization_id=home.organization_id, grants=("kb.*",), kind="api_key"
    )

    assert await reason_of(call(org, rpc, caller, REQUESTS[rpc](A_USER))) == "PERMISSION_DENIED"


@pytest.mark.parametrize("rpc", [name for name in PERMITTED if not name.endswith("WatchEvents")])
async def test_the_lowest_role_that_has_it_may(org: Org, rpc: str) -> None:
    home = await found(org)
    caller = await org.a_member(home, RULES[rpc].granted_to)
    target = await org.a_member(home, Rank.VIEWER)

    assert await reason_of(call(org, rpc, caller, REQUESTS[rpc](target.subject))) == ""


@pytest.mark.parametrize("rpc", ["MemberService.GetMember", "MemberService.UpdateMember", "MemberService.DeleteMember"])
async def test_a_stranger_finds_nobody(org: Org, rpc: str) -> None:
    home, other = await found(org), await found(org)

    assert await reason_of(call(org, rpc, other.owner, REQUESTS[rpc](home.owner_id))) == "MEMBER_NOT_FOUND"
