"""The main job: what `make demo` shows, as a test."""

from fleet.demo.client import Client
from fleet.demo.journey import Journey
from fleet.launcher import Fleet


class TestMainJob:
    def test_from_sign_up_to_a_cited_answer_and_through_a_crash(self, fleet: Fleet, anonymous: Client) -> None:
        steps: list[str] = []
        journey = Journey(anonymous, say=steps.append)

        journey.run()
        journey.survive(kill=fleet.kill, start=fleet.start)

        assert [step for step in steps if "went on and ended" in step]
