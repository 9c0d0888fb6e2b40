"""Built-in roles, what they hold, and who may touch whom."""

from collections.abc import Mapping
from dataclasses import dataclass

from org.domain.errors import LastOwner, MemberAboveOwnRank, RoleAboveOwnRank, RoleUnknown

OWNER = "owner"
ADMIN_RANK = 40  # definable.options.v1.Rank.ADMIN; a test holds the numbers of this file and the contract together
EVERYTHING = "*"  # a pattern is limited by the rank that comes with it, so one pattern serves every built-in role


@dataclass(frozen=True)
class BuiltInRole:
    """A role that every organization has."""

    name: str
    rank: int
    description: str

    def permissions(self, catalogue: Mapping[str, int]) -> list[str]:
        """Name the permissions of the catalogue (name → lowest rank) that this role holds, sorted."""
        return sorted(name for name, granted_to in catalogue.items() if self.rank >= granted_to)


BUILT_IN_ROLES = (
    BuiltInRole("owner", 50, "Everything, including what ends the organization."),
    BuiltInRole("admin", 40, "Everything but deleting the organization and touching its owners."),
    BuiltInRole("developer", 30, "Builds: knowledge bases, agents, tools and conversations."),
    BuiltInRole("member", 20, "Uses what was built: reads, converses and runs agents."),
    BuiltInRole("viewer", 10, "Reads."),
)
_BY_NAME = {role.name: role for role in BUILT_IN_ROLES}


def role_named(name: str) -> BuiltInRole:
    """Find a role by its name. Raises RoleUnknown."""
    if name not in _BY_NAME:
        raise RoleUnknown(role=name)
    return _BY_NAME[name]


def lowest_role(rank: int) -> BuiltInRole:
    """Find the lowest role that stands at a rank or above it."""
    return min((role for role in BUILT_IN_ROLES if role.rank >= rank), key=lambda role: role.rank)


def check_may_grant(*, actor_rank: int, role: BuiltInRole) -> None:
    """Raise RoleAboveOwnRank when the role is above the actor's own rank."""
    if role.rank > actor_rank:
        raise RoleAboveOwnRank(role=role.name)


def check_may_touch(*, actor_rank: int, member_rank: int) -> None:
    """Raise MemberAboveOwnRank when the member stands above the actor."""
    if member_rank > actor_rank:
        raise MemberAboveOwnRank()


def check_owner_remains(*, role: str, new_role: str | None, owner_count: int) -> None:
    """Raise LastOwner when the change (None is removal) takes the only owner away.

    `owner_count` has to be counted under the organization's lock: two owners who demote each other at once would both
    see two.
    """
    if role == OWNER and new_role != OWNER and owner_count <= 1:
        raise LastOwner()
