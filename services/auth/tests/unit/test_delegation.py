"""Laws of who may act for whom."""

import pytest

from auth.domain import delegation
from auth.domain.delegation import ActorKind


class TestDelegation:
    @pytest.mark.parametrize("process", ["agent", "conversation"])
    @pytest.mark.parametrize("kind", ActorKind)
    def test_runs_act_for_their_starters(self, process: str, kind: ActorKind) -> None:
        assert delegation.may_act_for(process, kind)

    @pytest.mark.parametrize("process", ["gateway", "kb", "org", "tool", "auth", "unknown", ""])
    @pytest.mark.parametrize("kind", ActorKind)
    def test_others_act_for_nobody(self, process: str, kind: ActorKind) -> None:
        assert not delegation.may_act_for(process, kind)

    def test_the_gateway_has_no_identity_of_its_own(self) -> None:
        assert not delegation.may_act_as_itself("gateway")
        assert not delegation.may_act_as_itself("unknown")

    def test_no_process_holds_a_pattern(self) -> None:
        assert not [grant for name in delegation.DELEGATIONS for grant in delegation.own_grants(name) if "*" in grant]
