"""The laws of streams, through the gateway: nothing is missing, nothing comes twice, and leaving stops nothing."""

import time
from collections.abc import Iterator
from itertools import islice
from uuid import uuid4

import pytest

from fleet.demo.client import Client, Event
from fleet.demo.journey import SLOW_SCRIPT, check_stream, close, run_of, text_of

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def person(anonymous: Client) -> Iterator[Client]:
    """A new person."""
    email = f"streams-{uuid4().hex[:10]}@example.org"
    anonymous.post("/v1/auth/sign-up", {"email": email, "password": PASSWORD, "organization_name": "Streams"})
    session = anonymous.post("/v1/auth/log-in", {"email": email, "password": PASSWORD})
    with anonymous.holding(str(session["access_token"])) as client:
        yield client


@pytest.fixture
def messages(person: Client) -> str:
    """Path of the messages of a new conversation."""
    conversation = person.post("/v1/conversations", {"model": "offline"})
    return f"/v1/conversations/{conversation['id']}/messages"


def events_of(client: Client, run_id: str, after: int = 0) -> list[Event]:
    return list(client.events(f"/v1/runs/{run_id}/events", last_event_id=after))


class TestStreams:
    def test_cut_anywhere_and_joined_is_the_whole(self, person: Client, messages: str) -> None:
        stream = person.send_streamed(messages, {"content": f"Hello?\n{SLOW_SCRIPT}"})
        seen = list(islice(stream, 3))
        close(stream)
        run_id = run_of(seen)
        whole = events_of(person, run_id)

        check_stream(whole)
        for cut in range(0, len(whole), max(1, len(whole) // 6)):
            assert whole[:cut] + events_of(person, run_id, after=cut) == whole

    def test_after_in_the_query_is_the_same(self, person: Client, messages: str) -> None:
        whole = list(person.send_streamed(messages, {"content": "Hello?"}))
        run_id = run_of(whole)

        assert list(person.events(f"/v1/runs/{run_id}/events?after=2")) == whole[2:]

    def test_two_watchers_see_the_same(self, person: Client, messages: str) -> None:
        stream = person.send_streamed(messages, {"content": f"Hello?\n{SLOW_SCRIPT}"})
        first = [next(stream)]
        second = person.events(f"/v1/runs/{run_of(first + list(islice(stream, 2)))}/events")

        assert [event.type for event in second][-1] == "run.completed"
        close(stream)

    def test_the_answer_is_stored_when_the_client_leaves(self, person: Client, messages: str) -> None:
        stream = person.send_streamed(messages, {"content": f"Hello?\n{SLOW_SCRIPT}"})
        seen = list(islice(stream, 3))
        close(stream)
        whole = events_of(person, run_of(seen))

        [_, answer] = list(person.list(messages, "messages"))

        assert (answer["state"], answer["content"]) == ("completed", text_of(whole))

    def test_stopping_ends_the_run_within_a_second_or_so(self, person: Client, messages: str) -> None:
        script = '```script\n{"delay_ms": 200, "turns": [{"say": "' + "word " * 100 + '"}]}\n```'
        sent = person.post(messages, {"content": f"Hello?\n{script}"})
        stream = person.events(f"/v1/runs/{sent['run_id']}/events")
        while next(stream).type != "message.delta":
            pass
        begun = time.monotonic()
        person.post(f"/v1/messages/{sent['answer']['id']}:stop")

        assert [event.type for event in stream][-1] == "run.cancelled"
        assert time.monotonic() - begun < 10
        [_, answer] = list(person.list(messages, "messages"))
        assert answer["state"] == "cancelled"
        assert answer["content"].startswith("word")

    def test_a_provider_that_fails_fails_the_run_with_its_reason(self, person: Client, messages: str) -> None:
        script = '```script\n[{"fail": "refused"}]\n```'
        events = list(person.send_streamed(messages, {"content": f"Hello?\n{script}"}))

        assert events[-1].type == "run.failed"
        assert events[-1].data["reason"]
        assert list(person.list(messages, "messages"))[1]["state"] == "failed"
