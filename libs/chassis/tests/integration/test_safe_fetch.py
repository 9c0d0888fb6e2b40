"""Fetching for users, against a real server on this machine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from chassis.boundary import NetworkInsideUnitOfWork, inside_unit_of_work
from chassis.safe_fetch import AddressRefused, BodyTooLarge, FetchFailed, FetchTimeout, SafeFetcher

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
LOOPBACK = SafeFetcher(allow_private=["127.0.0.0/8"])


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve raw HTTP: the handler is given the head of the request."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(await reader.readuntil(b"\r\n\r\n"), writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def replying(head: str, body: bytes = b"") -> Handler:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    return handler


class TestFetch:
    async def test_returns_the_reply_whatever_its_status(self) -> None:
        async with serving(replying("404 Not Found\r\nX-Name: value", b"gone")) as url:
            reply = await LOOPBACK.fetch("GET", url)

        assert (reply.status, reply.body, reply.headers["x-name"]) == (404, b"gone", "value")

    async def test_sends_headers_and_body(self) -> None:
        seen: list[bytes] = []

        async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
            seen.append(request)
            await replying("200 OK")(request, writer)

        async with serving(handler) as url:
            await LOOPBACK.fetch("POST", f"{url}/päth?q=ü", headers={"X-A": "b"}, content=b"12345")

        head = seen[0].decode()
        assert head.startswith("POST /p%C3%A4th?q=%C3%BC HTTP/1.1\r\n")
        assert "X-A: b" in head
        assert "Content-Length: 5" in head
        assert "Accept-Encoding: identity" in head

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:9/",
            "http://localhost/",
            "http://[::1]/",
            "http://0/",
            "http://2130706433/",
            "http://0x7f.1/",
            "file:///etc/passwd",
            "ftp://example.org/",
            "http://user:secret@example.org/",
            "http:///nohost",
            "http://169.254.169.254/latest/meta-data",
            "not a url",
            "http://[::ffff:127.0.0.1]/",
        ],
    )
    async def test_refuses_what_is_not_public(self, url: str) -> None:
        with pytest.raises(AddressRefused):
            await SafeFetcher().fetch("GET", url)

    async def test_checks_redirects_as_well(self) -> None:
        async with serving(replying("302 Found\r\nLocation: http://10.0.0.1/")) as url:
            with pytest.raises(AddressRefused):
                await LOOPBACK.fetch("GET", url)

    async def test_drops_headers_on_the_way_to_another_host(self) -> None:
        seen: list[bytes] = []

        async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
            seen.append(request)
            await replying("200 OK")(request, writer)

        async with serving(handler) as other, serving(replying(f"302 Found\r\nLocation: {other}/")) as url:
            reply = await LOOPBACK.fetch("GET", url, headers={"Authorization": "Bearer secret"})

        assert reply.final_url == f"{other}/"
        assert b"secret" not in seen[0]

    async def test_gives_up_on_endless_redirects(self) -> None:
        async with serving(replying("302 Found\r\nLocation: /")) as url:
            with pytest.raises(FetchFailed, match="redirects"):
                await LOOPBACK.fetch("GET", url)

    async def test_caps_bytes(self) -> None:
        async with serving(replying("200 OK", b"x" * 2000)) as url:
            with pytest.raises(BodyTooLarge):
                await LOOPBACK.fetch("GET", url, max_bytes=1999)

    async def test_caps_time_also_for_a_trickle(self) -> None:
        async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.05)

        async with serving(handler) as url:
            with pytest.raises(FetchTimeout):
                await LOOPBACK.fetch("GET", url, timeout=timedelta(milliseconds=300))

    async def test_names_a_server_that_is_away_or_speaks_nonsense(self) -> None:
        async def nonsense(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello\r\n\r\n")

        async with serving(nonsense) as url:
            with pytest.raises(FetchFailed):
                await LOOPBACK.fetch("GET", url)
        with pytest.raises(FetchFailed):
            await LOOPBACK.fetch("GET", url)

    async def test_is_not_allowed_inside_a_unit_of_work(self) -> None:
        with inside_unit_of_work(), pytest.raises(NetworkInsideUnitOfWork):
            await LOOPBACK.fetch("GET", "http://127.0.0.1/")
