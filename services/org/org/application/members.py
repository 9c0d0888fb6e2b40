"""Who belongs to the organization, and in which role.

Every change holds the organization's row, so changes of members happen one after the other and the owners counted are
the owners there are.
"""

from uuid import UUID

from chassis.data.database import check_etag
from chassis.data.unit_of_work import Acquire
from chassis.ids import ORGANIZATION, USER
from chassis.rpc.caller import Caller
from definable.org.v1.events_pb2 import MemberAdded, MemberRemoved, MemberRoleChanged
from org import models
from org.domain import roles
from org.domain.errors import MemberExists, MemberNotFound, OrganizationNotFound
from org.domain.ports import Profile, UserDirectory
from org.domain.roles import BuiltInRole
from org.unit_of_work import OrgUnitOfWork


class AddMember:
    """Add a person by address: the directory of users finds or creates the account before a transaction opens."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork], directory: UserDirectory) -> None:
        self._acquire = acquire
        self._directory = directory

    async def find(self, *, caller: Caller, email: str, role: str, display_name: str) -> Profile:
        """Find or create the account to add.

        Raises RoleUnknown and RoleAboveOwnRank before anybody is created, and DependencyUnavailable.
        """
        roles.check_may_grant(actor_rank=caller.rank, role=roles.role_named(role))
        organization_id = caller.organization_id
        if organization_id is None:
            raise OrganizationNotFound()
        return await self._directory.ensure_user(
            organization_id=organization_id, email=email, display_name=display_name
        )


async def get(work: OrgUnitOfWork, *, user_id: UUID) -> models.Member:
    """Read a member. Raises MemberNotFound."""
    member = await work.members.get(user_id)
    if member is None:
        raise MemberNotFound()
    return member


async def add(work: OrgUnitOfWork, *, caller: Caller, user_id: UUID, role: str) -> models.Member:
    """Add a user with a role. Raises MemberExists, RoleUnknown and RoleAboveOwnRank."""
    await _lock(work)
    granted = roles.role_named(role)
    roles.check_may_grant(actor_rank=await _rank_of(work, caller), role=granted)
    if await work.members.get(user_id):
        raise MemberExists()
    return await join(work, user_id=user_id, role=granted)


async def join(work: OrgUnitOfWork, *, user_id: UUID, role: BuiltInRole) -> models.Member:
    """Make a user a member, whoever may decide that, and announce it."""
    member = models.Member(
        id=user_id,
        role=role.name,
        rank=role.rank,
        change_number=await work.members.next_change(),
        create_time=work.now(),
        update_time=work.now(),
    )
    work.members.add(member)
    await work.session.flush()
    user = USER.show(user_id)
    event = MemberAdded(organization_id=ORGANIZATION.show(work.organization_id), user_id=user, role=role.name)
    work.outbox.add(event, target=user, after={"role": role.name}, revision=member.change_number)
    return member


async def change_role(work: OrgUnitOfWork, *, caller: Caller, user_id: UUID, role: str) -> models.Member:
    """Give a member another role. To give the same again changes nothing and is not announced.

    Raises MemberNotFound, RoleUnknown, MemberAboveOwnRank, RoleAboveOwnRank, LastOwner and EtagMismatch.
    """
    await _lock(work)
    member = await get(work, user_id=user_id)
    granted = roles.role_named(role)
    rank = await _rank_of(work, caller)
    roles.check_may_touch(actor_rank=rank, member_rank=member.rank)
    roles.check_may_grant(actor_rank=rank, role=granted)
    roles.check_owner_remains(role=member.role, new_role=role, owner_count=await work.members.owner_count())
    check_etag(member)
    old_role = member.role
    if old_role == granted.name:
        return member
    change_number = await work.members.next_change()
    member.role, member.rank = granted.name, granted.rank
    member.change_number, member.update_time = change_number, work.now()
    await work.session.flush()
    user, organization = USER.show(user_id), ORGANIZATION.show(work.organization_id)
    event = MemberRoleChanged(organization_id=organization, user_id=user, old_role=old_role, new_role=granted.name)
    before, after = {"role": old_role}, {"role": granted.name}
    work.outbox.add(event, target=user, before=before, after=after, revision=change_number)
    return member


async def remove(work: OrgUnitOfWork, *, caller: Caller, user_id: UUID) -> None:
    """Remove a member. Raises MemberNotFound, MemberAboveOwnRank, LastOwner and EtagMismatch."""
    await _lock(work)
    member = await get(work, user_id=user_id)
    roles.check_may_touch(actor_rank=await _rank_of(work, caller), member_rank=member.rank)
    check_etag(member)
    await _end(work, member)


async def leave(work: OrgUnitOfWork, *, user_id: UUID) -> None:
    """End a user's own membership. Raises MemberNotFound and LastOwner."""
    await _lock(work)
    await _end(work, await get(work, user_id=user_id))


async def _end(work: OrgUnitOfWork, member: models.Member) -> None:
    roles.check_owner_remains(role=member.role, new_role=None, owner_count=await work.members.owner_count())
    await work.members.delete(member)
    user = USER.show(member.id)
    event = MemberRemoved(organization_id=ORGANIZATION.show(work.organization_id), user_id=user, role=member.role)
    change_number = await work.members.next_change()
    work.outbox.add(event, target=user, before={"role": member.role}, revision=change_number)


async def _lock(work: OrgUnitOfWork) -> None:
    if await work.organizations.lock() is None:
        raise OrganizationNotFound()


async def _rank_of(work: OrgUnitOfWork, caller: Caller) -> int:
    """Say how high the caller stands now: a token may be older than the last change of its user's role."""
    if caller.principal_id is None:
        return int(caller.rank)
    member = await work.members.get(caller.principal_id)
    return min(int(caller.rank), member.rank if member else 0)
