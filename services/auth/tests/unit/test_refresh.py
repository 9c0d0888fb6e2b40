"""The refresh protocol as a state machine, against the rules written down independently."""

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from auth.domain import refresh
from auth.domain.refresh import Verdict

LIFE = timedelta(days=30)
PEPPER = b"p" * 32


class Row:
    """A stored token, as the table keeps it."""

    def __init__(self, created: datetime) -> None:
        self.id: UUID = uuid4()
        self.expire_time = created + LIFE
        self.used_time: datetime | None = None
        self.child_id: UUID | None = None


class RefreshFamily(RuleBasedStateMachine):
    """Clients and thieves present tokens of one family in any order and at any time."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.rows: dict[bytes, Row] = {}
        self.alive = True
        self.children: dict[str, set[str]] = {}
        self.rotated_at: dict[str, datetime] = {}

    @initialize(target=tokens)
    def log_in(self) -> str:
        return self._store(refresh.mint(os.urandom(32)))

    @rule(seconds=st.one_of(st.integers(0, 12), st.integers(0, 40 * 86400)))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(token=tokens, target=tokens)
    def present(self, token: str) -> str:
        row = self.rows[refresh.digest(token)]
        if not self.alive:
            return token
        verdict = refresh.judge(used_time=row.used_time, expire_time=row.expire_time, now=self.now)
        if verdict is Verdict.ROTATE:
            assert token not in self.rotated_at, "a token was exchanged anew twice"
            row.used_time, row.child_id = self.now, uuid4()
            self.rotated_at[token] = self.now
            return self._child(token, row)
        if verdict is Verdict.REPEAT:
            assert self.now - self.rotated_at[token] <= timedelta(seconds=10)
            return self._child(token, row)
        if verdict is Verdict.REUSED:
            assert token in self.rotated_at
            self.alive = False
        else:
            assert self.now >= row.expire_time
        return token

    @invariant()
    def a_parent_has_one_child(self) -> None:
        assert all(len(children) == 1 for children in self.children.values())

    @invariant()
    def a_late_reuse_ends_the_family(self) -> None:
        for token, at in self.rotated_at.items():
            row = self.rows[refresh.digest(token)]
            late = self.now - at > refresh.GRACE
            verdict = refresh.judge(used_time=row.used_time, expire_time=row.expire_time, now=self.now)
            assert not late or verdict is Verdict.REUSED

    def _child(self, parent: str, row: Row) -> str:
        assert row.child_id is not None
        child = refresh.derive_child(parent, child_id=row.child_id, pepper=PEPPER)
        self.children.setdefault(parent, set()).add(child)
        return child if refresh.digest(child) in self.rows else self._store(child)

    def _store(self, token: str) -> str:
        self.rows[refresh.digest(token)] = Row(self.now)
        return token


RefreshFamily.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRefreshFamily = RefreshFamily.TestCase


class TestRefreshToken:
    def test_child_needs_the_pepper(self) -> None:
        parent, child_id = refresh.mint(os.urandom(32)), uuid4()
        assert refresh.derive_child(parent, child_id=child_id, pepper=b"a") != refresh.derive_child(
            parent, child_id=child_id, pepper=b"b"
        )

    @pytest.mark.parametrize("text", ["", "dfr_", "dfr_" + "x" * 42, "dfr_" + "x" * 44, "dfr_" + "-" * 43, "x" * 47])
    def test_refuses_what_is_no_token(self, text: str) -> None:
        assert not refresh.is_well_formed(text)

    def test_accepts_what_it_minted(self) -> None:
        assert refresh.is_well_formed(refresh.mint(os.urandom(32)))
