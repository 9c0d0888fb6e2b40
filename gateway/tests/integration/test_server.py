import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chassis.rpc.caller import Caller

from ..conftest import Front  # noqa: TID252  # tests are installed nowhere

HOST = b"Host: localhost\r\n"


@pytest.fixture
async def quick(fronts: Any) -> AsyncIterator[Front]:
    """A gateway with short patience."""
    async with fronts(limits={"header_timeout_seconds": 0.5, "body_idle_seconds": 0.5}) as front:
        yield front


async def talk(front: Front, *pieces: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """Send pieces over a socket; return all that came back until the other side closed, and when that was."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    started = time.monotonic()
    reading = asyncio.create_task(reader.read())
    for piece in pieces:
        if reading.done():
            break
        writer.write(piece)
        await asyncio.sleep(pause)
    async with asyncio.timeout(10):
        answer = await reading
    writer.close()
    return answer, time.monotonic() - started


class TestHeaderTimeout:
    async def test_closes_a_silent_connection(self, quick: Front) -> None:
        answer, seconds = await talk(quick)

        assert answer == b""
        assert 0.4 < seconds < 2

    async def test_closes_trickled_headers(self, quick: Front) -> None:
        trickle = [b"GET / HTTP/1.1\r\n", *[b"a: b\r\n"] * 100]
        answer, seconds = await talk(quick, *trickle, pause=0.05)

        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"HEADERS_TOO_SLOW" in answer
        assert seconds < 2

    async def test_closes_trickled_line_ends(self, quick: Front) -> None:
        _, seconds = await talk(quick, *[b"\r\n"] * 100, pause=0.05)

        assert seconds < 2

    async def test_closes_a_body_that_nobody_reads(self, quick: Front) -> None:
        """The answer to a GET does not wait for its body; what trickles in afterwards must not hold the connection."""
        head = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n"
        answer, seconds = await talk(quick, head, *[b"x"] * 100, pause=0.05)

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert seconds < 3

    async def test_lets_a_second_request_take_its_time_anew(self, quick: Front) -> None:
        request = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
        pieces = [request, request[:10], request[10:], b"GET / HTTP/1.1\r\n"]
        answer, _ = await talk(quick, *pieces, pause=0.3)

        assert answer.count(b"HTTP/1.1 200 OK") == 2
        assert b"408" in answer

    async def test_answers_pipelined_requests(self, quick: Front) -> None:
        request = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
        answer, _ = await talk(quick, request * 3 + request.replace(HOST, HOST + b"Connection: close\r\n"))

        assert answer.count(b"HTTP/1.1 200 OK") == 4


class TestLimits:
    async def test_refuses_large_headers(self, front: Front) -> None:
        one = b"GET /healthz HTTP/1.1\r\n" + HOST + b"a: " + b"b" * 33_000 + b"\r\n\r\n"
        many = b"GET /healthz HTTP/1.1\r\n" + HOST + b"".join(b"h%d: %s\r\n" % (i, b"v" * 100) for i in range(400))
        endless = [b"GET /healthz HTTP/1.1\r\na: ", *[b"b" * 8192] * 100]
        for answer, _ in [await talk(front, one), await talk(front, many + b"\r\n"), await talk(front, *endless)]:
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert b"HEADERS_TOO_LARGE" in answer
            assert b"application/problem+json" in answer

    async def test_takes_headers_below_the_limit(self, front: Front) -> None:
        request = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\na: " + b"b" * 32_000 + b"\r\n\r\n"

        assert (await talk(front, request))[0].startswith(b"HTTP/1.1 200 ")

    async def test_refuses_a_long_url(self, front: Front) -> None:
        whole = b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"
        endless = [b"GET /", *[b"a" * 4096] * 100]
        for answer, _ in [await talk(front, whole), await talk(front, *endless)]:
            assert answer.startswith(b"HTTP/1.1 414 ")
            assert b"URL_TOO_LONG" in answer

    async def test_refuses_what_is_not_http(self, front: Front) -> None:
        for nonsense in (b"\x16\x03\x01\x00\xa5\x01\x00", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
            answer, _ = await talk(front, nonsense)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"MALFORMED_BODY" in answer
            assert answer.count(b"HTTP/1.1") == 1

    async def test_gives_up_on_a_stalled_body(self, quick: Front, owner: Caller) -> None:
        credential = quick.authority.credential(owner).encode()
        head = b"POST /v1/books HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + credential + b"\r\n"
        answer, seconds = await talk(
            quick, head + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{", pause=0.01
        )

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"stopped arriving" in answer
        assert seconds < 4

    async def test_refuses_a_large_body_before_it_is_sent(self, front: Front, owner: Caller) -> None:
        credential = front.authority.credential(owner).encode()
        head = b"POST /v1/books HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + credential + b"\r\n"
        head += b"Content-Type: application/json\r\nContent-Length: 500000000\r\nExpect: 100-continue\r\n\r\n"
        answer, seconds = await talk(front, head)

        assert answer.startswith(b"HTTP/1.1 413 ")
        assert seconds < 1

    async def test_a_thousand_trickling_connections_do_not_stay(self, quick: Front) -> None:
        async def trickle() -> float:
            return (await talk(quick, *[b"GET / HT", b"TP/1.1\r\n", *[b"a: b\r\n"] * 60], pause=0.1))[1]

        seconds = await asyncio.gather(*(trickle() for _ in range(200)))

        assert max(seconds) < 5


class TestDrain:
    async def test_finishes_what_is_in_flight(self, fronts: Any, owner: Caller) -> None:
        async with fronts(deadlines={"unary_seconds": 1}) as front, front.client(owner) as client:
            slow = asyncio.create_task(client.get("/v1/books/book_slow"))
            await asyncio.sleep(0.2)
            await front.gateway.stop()

            assert (await slow).status_code == 504
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", front.port)
