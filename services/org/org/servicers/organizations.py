"""OrganizationService."""

from datetime import datetime
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.data.pagination import decode_token, encode_token, page_limit
from chassis.data.unit_of_work import Acquire
from chassis.errors import PageTokenInvalid
from chassis.ids import new_id
from chassis.rpc.caller import Actor, Caller, CallerKind, current_caller
from chassis.rpc.masks import masked
from chassis.rpc.server import Context
from definable.org.v1.organization_service_pb2 import (
    CreateOrganizationRequest,
    GetOrganizationRequest,
    LeaveOrganizationRequest,
    ListOrganizationsRequest,
    ListOrganizationsResponse,
    Organization,
    UpdateOrganizationRequest,
)
from definable.org.v1.organization_service_pb2_grpc import OrganizationServiceServicer
from org import convert
from org.application import members, organizations
from org.domain import roles
from org.domain.errors import UserCredentialRequired
from org.unit_of_work import OrgUnitOfWork


class Organizations(OrganizationServiceServicer):
    """Answers about organizations."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork]) -> None:
        self._acquire = acquire

    async def CreateOrganization(self, request: CreateOrganizationRequest, context: Context) -> Organization:
        caller = current_caller()
        owner_id = _user_of(caller)
        wanted = request.organization
        async with self._acquire.as_organization(new_id(), Actor.of(caller)) as work:
            row = await organizations.found(work, owner_id=owner_id, display_name=wanted.display_name, slug=wanted.slug)
            return work.reply(convert.organization(row, caller_role=roles.OWNER))

    async def ListOrganizations(self, request: ListOrganizationsRequest, context: Context) -> ListOrganizationsResponse:
        user_id = current_caller().principal_id
        if user_id is None:
            return ListOrganizationsResponse()
        limit = page_limit(request.page_size)
        async with self._acquire.as_user(user_id) as work:
            bound_to = work.page_binding("organizations", scope=user_id)
            after = _position(request.page_token, bound_to=bound_to) if request.page_token else None
            rows = await work.memberships.get_across_organizations(limit=limit + 1, after=after)
        token = encode_token(bound_to, [rows[limit - 1].member_since, rows[limit - 1].id]) if len(rows) > limit else ""
        shown = [convert.listed_organization(row) for row in rows[:limit]]
        return ListOrganizationsResponse(organizations=shown, next_page_token=token)

    async def GetOrganization(self, request: GetOrganizationRequest, context: Context) -> Organization:
        async with self._acquire() as work:
            row = await organizations.get(work)
            return convert.organization(row, caller_role=await _role_of(work, current_caller()))

    async def UpdateOrganization(self, request: UpdateOrganizationRequest, context: Context) -> Organization:
        changes = masked(request.organization, request.update_mask, allowed=organizations.UPDATABLE)
        async with self._acquire() as work:
            row = await organizations.update(work, changes=changes)
            role = await _role_of(work, current_caller())
            return work.reply(convert.organization(row, caller_role=role))

    async def LeaveOrganization(self, request: LeaveOrganizationRequest, context: Context) -> Empty:
        user_id = _user_of(current_caller())
        async with self._acquire() as work:
            await members.leave(work, user_id=user_id)
            return work.reply(Empty())


def _user_of(caller: Caller) -> UUID:
    if caller.kind != CallerKind.USER or caller.principal_id is None:
        raise UserCredentialRequired()
    return caller.principal_id


async def _role_of(work: OrgUnitOfWork, caller: Caller) -> str:
    member = await work.members.get(caller.principal_id) if caller.principal_id else None
    return member.role if member else ""


def _position(page_token: str, *, bound_to: bytes) -> tuple[datetime, UUID]:
    since, organization_id = decode_token(page_token, bound_to=bound_to)
    if not isinstance(since, datetime) or not isinstance(organization_id, UUID):
        raise PageTokenInvalid()
    return since, organization_id
