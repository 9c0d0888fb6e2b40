import asyncio
import json
from typing import Any

import httpx

from chassis.rpc.caller import Caller

from ..conftest import Front  # noqa: TID252  # tests are installed nowhere
from ..library import SERVICE, until  # noqa: TID252

SSE = {"Accept": "text/event-stream"}


async def frames(reply: httpx.Response) -> list[dict[str, str]]:
    """Read a stream to its end."""
    found: list[dict[str, str]] = []
    current: dict[str, str] = {}
    async for line in reply.aiter_lines():
        if not line and current:
            found.append(current)
            current = {}
        elif line:
            name, _, value = line.partition(":")
            current[name or "comment"] = value.strip()
    return found


async def begin(client: httpx.AsyncClient, words: int, pause: int = 0) -> str:
    reply = await client.post("/v1/readings", json={"words": words, "pause": pause})
    assert reply.status_code == 202
    return str(reply.json()["reading_id"])


async def read(client: httpx.AsyncClient, url: str, **options: Any) -> list[dict[str, str]]:
    async with client.stream("GET", url, **options) as reply:
        assert reply.status_code == 200
        return await frames(reply)


class TestEvents:
    async def test_sends_seq_type_and_data(self, client: httpx.AsyncClient) -> None:
        reading = await begin(client, words=3)
        async with client.stream("GET", f"/v1/readings/{reading}/events") as reply:
            assert reply.headers["content-type"] == "text/event-stream"
            assert reply.headers["cache-control"] == "no-store"
            found = await frames(reply)

        assert found[0] == {"retry": "2000"}
        assert [(f["id"], f["event"]) for f in found[1:]] == [("1", "word"), ("2", "word"), ("3", "end")]
        assert json.loads(found[1]["data"]) == {"text": "word 1", "n": 1}

    async def test_resumes_where_it_was_cut(self, client: httpx.AsyncClient) -> None:
        reading = await begin(client, words=20)
        url = f"/v1/readings/{reading}/events"
        whole = (await read(client, url))[1:]
        by_header = (await read(client, url, headers={"Last-Event-ID": "7"}))[1:]
        by_query = (await read(client, f"{url}?after=7"))[1:]
        both = (await read(client, f"{url}?after=2", headers={"Last-Event-ID": "7"}))[1:]

        assert whole[7:] == by_header == by_query == both
        assert [frame["id"] for frame in whole] == [str(n) for n in range(1, 21)]

    async def test_refuses_before_the_first_event(self, client: httpx.AsyncClient) -> None:
        unknown = await client.get("/v1/readings/reading_9/events", headers=SSE)
        html = await client.get("/v1/readings/reading_1/events", headers={"Accept": "text/html"})
        wrong = await client.get("/v1/readings/reading_1/events", headers={"Last-Event-ID": "x"})

        assert (unknown.status_code, unknown.json()["reason"]) == (404, "READING_NOT_FOUND")
        assert (html.status_code, html.json()["reason"]) == (406, "NOT_ACCEPTABLE")
        assert wrong.json()["violations"][0]["field"] == "after"

    async def test_pings_while_nothing_happens(self, fronts: Any, owner: Caller) -> None:
        async with fronts(streams={"ping_seconds": 0.1}) as front, front.client(owner) as client:
            reading = await begin(client, words=1, pause=1500)
            found = await read(client, f"/v1/readings/{reading}/events")

        assert {"comment": "ping"} in found
        assert found[-1]["event"] == "end"

    async def test_starts_although_the_first_event_takes_long(self, front: Front, client: httpx.AsyncClient) -> None:
        reading = await begin(client, words=1, pause=2500)
        started = asyncio.get_running_loop().time()
        async with client.stream("GET", f"/v1/readings/{reading}/events") as reply:
            assert asyncio.get_running_loop().time() - started < 2
            assert len(await frames(reply)) == 2

    async def test_cancels_the_call_when_the_client_leaves(self, front: Front, client: httpx.AsyncClient) -> None:
        reading = await begin(client, words=1000, pause=50)
        async with client.stream("GET", f"/v1/readings/{reading}/events") as reply:
            await anext(reply.aiter_lines())
            assert front.library.open_streams == 1

        await until(lambda: front.library.open_streams == 0)

    async def test_tells_of_a_failure_on_the_way(self, front: Front, client: httpx.AsyncClient) -> None:
        reading = await begin(client, words=1000, pause=20)
        async with client.stream("GET", f"/v1/readings/{reading}/events") as reply:
            lines = reply.aiter_lines()
            while (await anext(lines)) != "event: word":
                pass
            await front.library.stop()
            rest = [line async for line in lines]

        assert "event: error" in rest
        assert json.loads(rest[rest.index("event: error") + 1].removeprefix("data: "))["status"] == 503

    async def test_ends_streams_when_the_gateway_goes_away(self, fronts: Any, owner: Caller) -> None:
        async with fronts() as front, front.client(owner) as client:
            reading = await begin(client, words=1000, pause=20)
            async with client.stream("GET", f"/v1/readings/{reading}/events") as reply:
                lines = reply.aiter_lines()
                await anext(lines)
                stopping = asyncio.create_task(front.gateway.stop())
                async with asyncio.timeout(3):
                    rest = [line async for line in lines]
                await stopping

        assert "event: error" not in rest


class TestFollow:
    async def test_streams_what_was_started(self, client: httpx.AsyncClient) -> None:
        async with client.stream("POST", "/v1/readings", json={"words": 5}, headers=SSE) as reply:
            assert reply.status_code == 200
            assert reply.headers["content-location"] == "/v1/readings/reading_1/events"
            assert reply.headers["x-reading-id"] == "reading_1"
            found = await frames(reply)

        resumed = await read(client, "/v1/readings/reading_1/events?after=2")
        assert found[3:] == resumed[1:]
        assert len(found) == 6

    async def test_answers_json_unless_asked_by_name(self, client: httpx.AsyncClient) -> None:
        reply = await client.post("/v1/readings", json={"words": 5}, headers={"Accept": "*/*"})

        assert (reply.status_code, reply.json()) == (202, {"reading_id": "reading_1"})

    async def test_waits_for_what_begins_a_little_later(self, front: Front, client: httpx.AsyncClient) -> None:
        front.library.begins_readings = False
        asking = asyncio.create_task(client.post("/v1/readings", json={"words": 3}, headers=SSE))
        await until(lambda: len(front.library.requests) >= 2)
        assert not asking.done()
        request_class = front.library.table.by_rpc[f"{SERVICE}.StartReading"].request_class
        front.library.readings["reading_1"] = request_class(words=3)
        reply = await asking

        assert reply.status_code == 200
        assert [line for line in reply.text.splitlines() if line.startswith("id:")] == ["id: 1", "id: 2", "id: 3"]

    async def test_says_where_the_stream_will_be_when_nothing_begins(self, fronts: Any, owner: Caller) -> None:
        async with fronts(streams={"follow_seconds": 0.3}) as front, front.client(owner) as client:
            front.library.begins_readings = False
            reply = await client.post("/v1/readings", json={"words": 3}, headers=SSE)

        assert (reply.status_code, reply.json()["reason"]) == (503, "DEPENDENCY_UNAVAILABLE")
        assert reply.headers["content-location"] == "/v1/readings/reading_1/events"
        assert int(reply.headers["retry-after"]) >= 1
