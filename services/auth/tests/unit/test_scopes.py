"""Laws of grants and scopes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.domain import scopes
from auth.domain.scopes import Rights

CATALOGUE = {
    "kb.documents.read": 10,
    "kb.documents.create": 30,
    "kb.bases.read": 10,
    "agent.runs.read": 20,
    "org.members.remove": 40,
}
VIEWER, DEVELOPER, OWNER = 10, 30, 50
PATTERNS = st.sampled_from(
    ["*", "kb.*", "*.*.read", "kb.*.read", "kb.documents.*", "*.documents.*", "org.*", "agent.runs.*", *CATALOGUE]
)
RIGHTS = st.builds(
    Rights,
    rank=st.sampled_from([10, 20, 30, 40, 50]),
    grants=st.lists(PATTERNS, unique=True, max_size=4).map(tuple),
)


class TestMeet:
    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            ("*", "kb.*", "kb.*"),
            ("kb.*", "kb.*.read", "kb.*.read"),
            ("kb.*.read", "*.documents.*", "kb.documents.read"),
            ("kb.*", "agent.*", None),
            ("kb.documents.read", "*", "kb.documents.read"),
            ("*", "*", "*"),
        ],
    )
    def test_is_what_both_match(self, first: str, second: str, expected: str | None) -> None:
        assert scopes.meet(first, second) == expected
        assert scopes.meet(second, first) == expected


class TestNarrow:
    @given(RIGHTS, st.lists(PATTERNS, unique=True, min_size=1, max_size=4))
    def test_never_gives_more_than_the_creator_has_nor_more_than_the_scopes(
        self, rights: Rights, wanted: list[str]
    ) -> None:
        narrowed = Rights(rank=rights.rank, grants=scopes.narrow(rights, wanted, CATALOGUE))
        for permission, granted_to in CATALOGUE.items():
            if narrowed.may(permission, granted_to):
                assert rights.may(permission, granted_to)
                assert any(scopes.covers(scope, permission) for scope in wanted)

    @given(RIGHTS, st.lists(PATTERNS, unique=True, min_size=1, max_size=4))
    def test_loses_nothing_that_both_have(self, rights: Rights, wanted: list[str]) -> None:
        narrowed = Rights(rank=rights.rank, grants=scopes.narrow(rights, wanted, CATALOGUE))
        for permission, granted_to in CATALOGUE.items():
            in_scope = any(scopes.covers(scope, permission) for scope in wanted)
            if in_scope and rights.may(permission, granted_to):
                assert narrowed.may(permission, granted_to)

    def test_a_full_name_is_earned_by_rank(self) -> None:
        everything = Rights(rank=VIEWER, grants=("*",))
        assert scopes.narrow(everything, ["kb.documents.create"], CATALOGUE) == ()
        assert scopes.narrow(everything, ["kb.documents.read"], CATALOGUE) == ("kb.documents.read",)

    def test_follows_a_demotion(self) -> None:
        scope = ["org.members.remove"]
        assert scopes.narrow(Rights(OWNER, ("*",)), scope, CATALOGUE) == ("org.members.remove",)
        assert scopes.narrow(Rights(DEVELOPER, ("*",)), scope, CATALOGUE) == ()


class TestIsHeld:
    def test_a_narrow_key_hands_out_no_wider_one(self) -> None:
        narrow = Rights(rank=OWNER, grants=("kb.*",))
        assert scopes.is_held("kb.*.read", narrow, CATALOGUE)
        assert not scopes.is_held("*", narrow, CATALOGUE)
        assert not scopes.is_held("agent.runs.read", narrow, CATALOGUE)

    def test_a_name_needs_the_rank(self) -> None:
        assert not scopes.is_held("kb.documents.create", Rights(VIEWER, ("*",)), CATALOGUE)


class TestIsKnown:
    @pytest.mark.parametrize("scope", ["*", "kb.*", "kb.*.read", "kb.documents.read", "*.*.read"])
    def test_accepts_what_matches_something(self, scope: str) -> None:
        assert scopes.is_known(scope, CATALOGUE)

    @pytest.mark.parametrize(
        "scope", ["", "kb", "kb.documents", "kb.*.fly", "nothing.*", "kb..read", "a.b.c.d", "kb.documents.*.x", "KB.*"]
    )
    def test_refuses_what_matches_nothing(self, scope: str) -> None:
        assert not scopes.is_known(scope, CATALOGUE)
