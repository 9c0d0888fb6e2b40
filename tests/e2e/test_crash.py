"""The process that runs a run is killed with kill -9: the run goes on where its journal ends, and nothing is done
twice.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from uuid import uuid4

import pytest

from fleet.demo.client import Client, Event
from fleet.demo.journey import check_stream, close, run_of
from fleet.launcher import Fleet
from fleet.settings import Ports

PASSWORD = "correct horse battery staple"
TURNS = [{"tool": "calculator", "arguments": {"expression": f"{number} * 7"}} for number in range(3)]
SCRIPT = "```script\n" + json.dumps({"delay_ms": 150, "turns": [*TURNS, {"say": "word " * 40}]}) + "\n```"


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet of one process a service."""
    running = Fleet(tmp_path_factory.mktemp("processes"), ports=Ports.free(), processes=True, durable=False)
    try:
        running.start()
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def person(processes: Fleet) -> Iterator[Client]:
    """A new person with an API key."""
    with Client(processes.url) as anonymous:
        email = f"crash-{uuid4().hex[:10]}@example.org"
        anonymous.post("/v1/auth/sign-up", {"email": email, "password": PASSWORD, "organization_name": "Crash"})
        session = anonymous.post("/v1/auth/log-in", {"email": email, "password": PASSWORD})
        with anonymous.holding(str(session["access_token"])) as client:
            yield client


@pytest.fixture
def messages(person: Client) -> str:
    """Path of the messages of a conversation with an agent that has the calculator."""
    calculator = next(str(tool["id"]) for tool in person.list("/v1/tools", "tools") if tool["name"] == "calculator")
    definition = {"tools": [{"tool_id": calculator}]}
    agent = person.post("/v1/agents", {"display_name": f"Agent {uuid4().hex[:6]}", "definition": definition})
    person.post(f"/v1/agents/{agent['id']}:publish")
    conversation = person.post("/v1/conversations", {"agent_id": agent["id"]})
    return f"/v1/conversations/{conversation['id']}/messages"


class TestKilledAgent:
    def test_the_run_goes_on_and_recorded_steps_are_not_repeated(
        self, processes: Fleet, person: Client, messages: str
    ) -> None:
        stream = person.send_streamed(messages, {"content": f"Compute.\n{SCRIPT}"})
        seen = _until_speaking(stream)
        run_id = run_of(seen)

        processes.kill_one("agent")
        close(stream)
        processes.start_one("agent")
        _wait_until_ready(processes)
        whole = list(person.events(f"/v1/runs/{run_id}/events"))

        check_stream(whole)
        assert whole[: len(seen)] == seen
        completed = Counter(event.data["step"] for event in whole if event.type == "step.completed")
        assert set(completed.values()) == {1}
        assert len([event for event in whole if event.type == "tool_call.completed"]) == len(TURNS)
        restarted = [event for event in whole if event.type == "step.restarted"]
        assert [event.data["step"] for event in restarted] == [max(completed)]
        _check_deltas(whole, restarted)
        executions = list(person.list("/v1/tool-executions", "tool_executions", run_id=run_id))
        assert len(executions) == len(TURNS)


def _until_speaking(stream: Iterator[Event]) -> list[Event]:
    """Read until the tools have been called and the answer has begun."""
    seen: list[Event] = []
    for event in stream:
        seen.append(event)
        if event.type == "message.delta" and sum(one.type == "tool_call.completed" for one in seen) == len(TURNS):
            return seen + list(islice(stream, 2))
    raise AssertionError(f"the answer never began: {[event.type for event in seen]}")


def _check_deltas(whole: list[Event], restarted: list[Event]) -> None:
    """After a restart all deltas of the step carry the new attempt, and they alone are the answer."""
    [restart] = restarted
    later = [event.data for event in whole if event.type == "message.delta" and event.id > restart.id]
    assert {(delta["step"], delta["attempt"]) for delta in later} == {(restart.data["step"], restart.data["attempt"])}
    assert "".join(delta["text"] for delta in later).split() == ["word"] * 40


@pytest.mark.parametrize("service", ["auth", "org", "kb", "conversation", "agent", "tool"])
class TestRestarts:
    def test_a_service_comes_back_alone(self, processes: Fleet, person: Client, messages: str, service: str) -> None:
        processes.restart_one(service)
        _wait_until_ready(processes)

        events = list(person.send_streamed(messages, {"content": "Still there?"}))

        check_stream(events)


def _wait_until_ready(processes: Fleet) -> None:
    until = time.monotonic() + 60
    while not processes.is_ready():
        assert time.monotonic() < until, processes.readiness()
        time.sleep(0.2)
