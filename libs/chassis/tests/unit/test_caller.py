"""Callers and what they may."""

from dataclasses import replace

import pytest

from chassis import ids
from chassis.errors import Unauthenticated
from chassis.rpc.caller import Actor, CallContext, Caller, answering, call_or_none, current_call, current_caller
from definable.options.v1.options_pb2 import Rank


def a_caller(rank: int = Rank.MEMBER, *grants: str) -> Caller:
    return Caller("user_1", "user", rank=rank, grants=grants)


class TestMay:
    @pytest.mark.parametrize(
        ("grants", "rank", "permission", "may"),
        [
            (["*"], Rank.OWNER, "kb.documents.create", True),
            (["*"], Rank.VIEWER, "kb.documents.create", False),
            (["kb.*"], Rank.DEVELOPER, "kb.documents.create", True),
            (["kb.*"], Rank.DEVELOPER, "kbx.documents.create", False),
            (["kb.*.read"], Rank.DEVELOPER, "kb.documents.read", True),
            (["kb.*.read"], Rank.DEVELOPER, "kb.documents.create", False),
            (["kb.documents.*"], Rank.DEVELOPER, "kb.folders.create", False),
            (["agent.*"], Rank.OWNER, "kb.documents.create", False),
            (["kb.documents.create"], Rank.RANK_UNSPECIFIED, "kb.documents.create", True),
            (["kb.documents"], Rank.OWNER, "kb.documents.create", False),
            (["*.read"], Rank.OWNER, "kb.documents.read", False),
            ([], Rank.OWNER, "kb.documents.create", False),
        ],
    )
    def test_a_name_grants_itself_and_a_pattern_what_the_rank_reaches(
        self, grants: list[str], rank: int, permission: str, may: bool
    ) -> None:
        assert a_caller(rank, *grants).may(permission, Rank.DEVELOPER) is may

    def test_nobody_sees_everybodys_for_an_end_user(self) -> None:
        caller = a_caller(Rank.OWNER, "*", "agent.runs.read_all")

        assert caller.may("agent.runs.read_all", Rank.ADMIN)
        assert not replace(caller, end_user="eva").may("agent.runs.read_all", Rank.ADMIN)
        assert replace(caller, end_user="eva").may("agent.runs.read", Rank.ADMIN)


class TestCaller:
    def test_never_shows_its_token(self) -> None:
        assert "secret" not in repr(Caller("user_1", "user", token="secret"))

    def test_an_actor_is_what_rows_keep_of_it(self) -> None:
        user = ids.new_id()
        caller = Caller("key_1", "api_key", principal_id=user, end_user="eva", token="secret")

        assert Actor.of(caller) == Actor("key_1", "api_key", user, "eva")
        assert Actor.service("kb") == Actor("service:kb", "service")


class TestCurrentCall:
    def test_is_the_innermost_one(self) -> None:
        with answering(CallContext(request_id="1")), answering(CallContext(request_id="2")):
            assert current_call().request_id == "2"
        assert call_or_none() is None

    def test_is_missing_in_a_job(self) -> None:
        with pytest.raises(LookupError):
            current_call()
        with pytest.raises(Unauthenticated):
            current_caller()

    def test_may_have_no_caller(self) -> None:
        with answering(CallContext()), pytest.raises(Unauthenticated):
            current_caller()
