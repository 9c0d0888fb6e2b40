"""The hierarchy, and what built-in roles hold."""

import pytest

from chassis.rpc import descriptors
from chassis.rpc.caller import Caller
from definable.options.v1.options_pb2 import Rank
from org.domain import roles
from org.domain.errors import LastOwner, MemberAboveOwnRank, RoleAboveOwnRank, RoleUnknown

NAMES = ["owner", "admin", "developer", "member", "viewer"]


class TestBuiltInRoles:
    def test_are_the_ranks_of_the_contract(self) -> None:
        ranks = {name.lower(): number for name, number in Rank.items() if number}

        assert {role.name: role.rank for role in roles.BUILT_IN_ROLES} == ranks
        assert [role.name for role in roles.BUILT_IN_ROLES] == NAMES
        assert roles.role_named("admin").rank == roles.ADMIN_RANK

    def test_hold_what_their_rank_reaches(self) -> None:
        catalogue = {"kb.documents.read": 10, "kb.documents.create": 30, "org.members.create": 40, "x.y.delete": 50}

        held = {role.name: role.permissions(catalogue) for role in roles.BUILT_IN_ROLES}

        assert held == {
            "owner": ["kb.documents.create", "kb.documents.read", "org.members.create", "x.y.delete"],
            "admin": ["kb.documents.create", "kb.documents.read", "org.members.create"],
            "developer": ["kb.documents.create", "kb.documents.read"],
            "member": ["kb.documents.read"],
            "viewer": ["kb.documents.read"],
        }

    @pytest.mark.parametrize("name", NAMES)
    def test_list_exactly_what_a_token_with_their_grants_may_do(self, name: str) -> None:
        role = roles.role_named(name)
        caller = Caller("user_x", "user", rank=role.rank, grants=(roles.EVERYTHING,))
        catalogue = descriptors.catalogue()

        may = sorted(permission for permission, rank in catalogue.items() if caller.may(permission, rank))

        assert role.permissions(catalogue) == may
        assert "org.members.read" in may

    def test_are_the_only_ones(self) -> None:
        with pytest.raises(RoleUnknown):
            roles.role_named("root")

    @pytest.mark.parametrize(("rank", "name"), [(10, "viewer"), (11, "member"), (40, "admin"), (50, "owner")])
    def test_are_found_by_the_rank_a_permission_needs(self, rank: int, name: str) -> None:
        assert roles.lowest_role(rank).name == name


class TestHierarchy:
    @pytest.mark.parametrize("actor", NAMES)
    @pytest.mark.parametrize("role", NAMES)
    def test_nobody_grants_above_their_own_rank(self, actor: str, role: str) -> None:
        rank, granted = roles.role_named(actor).rank, roles.role_named(role)

        if NAMES.index(role) < NAMES.index(actor):
            with pytest.raises(RoleAboveOwnRank):
                roles.check_may_grant(actor_rank=rank, role=granted)
        else:
            roles.check_may_grant(actor_rank=rank, role=granted)

    @pytest.mark.parametrize("actor", NAMES)
    @pytest.mark.parametrize("member", NAMES)
    def test_nobody_touches_a_member_above_their_own_rank(self, actor: str, member: str) -> None:
        actor_rank, member_rank = roles.role_named(actor).rank, roles.role_named(member).rank

        if NAMES.index(member) < NAMES.index(actor):
            with pytest.raises(MemberAboveOwnRank):
                roles.check_may_touch(actor_rank=actor_rank, member_rank=member_rank)
        else:
            roles.check_may_touch(actor_rank=actor_rank, member_rank=member_rank)

    @pytest.mark.parametrize("new_role", ["admin", "viewer", None])
    def test_the_last_owner_stays_one(self, new_role: str | None) -> None:
        with pytest.raises(LastOwner):
            roles.check_owner_remains(role="owner", new_role=new_role, owner_count=1)

    @pytest.mark.parametrize(
        ("role", "new_role", "owners"), [("owner", "admin", 2), ("owner", "owner", 1), ("admin", None, 1)]
    )
    def test_others_may_go(self, role: str, new_role: str | None, owners: int) -> None:
        roles.check_owner_remains(role=role, new_role=new_role, owner_count=owners)
