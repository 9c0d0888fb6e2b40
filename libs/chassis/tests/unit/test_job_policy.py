"""How long jobs wait between attempts, and what clients read of their errors."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import DependencyUnavailable
from chassis.messaging.job_queue import actor_from_json, actor_to_json
from chassis.messaging.jobs import JobPolicy, message_of, reason_of
from chassis.rpc.caller import Actor

POLICY = JobPolicy(backoff=timedelta(seconds=2), max_backoff=timedelta(minutes=5))


class TestDelay:
    @given(st.integers(1, 10_000))
    def test_doubles_up_to_its_limit(self, attempt: int) -> None:
        doubled = min(2.0 * 2 ** min(attempt - 1, 20), 300.0)
        assert 0.75 * doubled <= POLICY.delay(attempt).total_seconds() <= 1.25 * doubled

    def test_spreads(self) -> None:
        assert len({POLICY.delay(3) for _ in range(20)}) > 1


class TestErrorsOfJobs:
    def test_tell_what_was_made_for_clients(self) -> None:
        error = DependencyUnavailable(dependency="auth")
        assert reason_of(error) == "DEPENDENCY_UNAVAILABLE"
        assert message_of(error) == error.message

    def test_tell_nothing_of_what_was_not(self) -> None:
        assert reason_of(RuntimeError("SELECT secret")) == "INTERNAL"
        assert message_of(RuntimeError("SELECT secret")) == ""

    def test_name_a_timeout(self) -> None:
        assert reason_of(TimeoutError()) == "DEADLINE_EXCEEDED"


@given(st.builds(Actor, st.text(), st.text(), st.none() | st.uuids(), st.none() | st.text()))
def test_actors_survive_their_row(actor: Actor) -> None:
    assert actor_from_json(actor_to_json(actor)) == actor
