import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chassis.rpc.caller import Caller

from ..conftest import Front  # noqa: TID252  # tests are installed nowhere
from ..library import until  # noqa: TID252

UPLOAD = "/v1/shelves/s1/books:upload"


def form(*parts: tuple[str, str, bytes], boundary: str = "b0undary", end: bool = True) -> dict[str, Any]:
    """Return content and headers of a form; a part is name, more of its disposition, and bytes."""
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + body + b"\r\n"
        for name, more, body in parts
    ]
    closing = f"--{boundary}--\r\n".encode() if end else b""
    return {
        "content": b"".join(lines) + closing,
        "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    }


FILE = ("file", '; filename="emma.txt"', b"Emma Woodhouse")


class TestUpload:
    async def test_streams_a_form(self, client: httpx.AsyncClient) -> None:
        content = bytes(range(256)) * 20_000
        fields = {"pages": "7", "keywords": ["a", "b"], "notes": '{"x": 1}'}
        reply = await client.post(UPLOAD, data=fields, files={"file": ("Ümlaut.txt", content, "text/plain")})

        assert reply.status_code == 201
        body = reply.json()
        assert body["sha256"] == hashlib.sha256(content).hexdigest()
        assert body["size_bytes"] == len(content)
        assert body["pieces"] > 1
        assert body["metadata"] == {
            "shelf": "s1",
            "file_name": "Ümlaut.txt",
            "media_type": "text/plain",
            "pages": 7,
            "keywords": ["a", "b"],
            "notes": {"x": 1},
        }

    async def test_streams_a_raw_body(self, client: httpx.AsyncClient) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(50):
                yield b"x" * 50_000

        headers = {"Content-Type": "text/plain", "Content-Disposition": "attachment; filename*=UTF-8''%C3%BC.txt"}
        reply = await client.post(f"{UPLOAD}?pages=3", content=pieces(), headers=headers)

        assert reply.json()["size_bytes"] == 2_500_000
        assert reply.json()["metadata"]["file_name"] == "ü.txt"
        assert reply.json()["metadata"]["pages"] == 3

    async def test_sends_the_file_before_it_has_arrived(self, front: Front, client: httpx.AsyncClient) -> None:
        """Memory does not grow with the file: the service hears of it while the client is still sending."""
        heard = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"x" * 100_000
            await until(lambda: "authorization" in front.library.metadata)
            heard.set()
            yield b"y"

        reply = await client.post(f"{UPLOAD}?file_name=a", content=pieces())

        assert heard.is_set()
        assert reply.json()["size_bytes"] == 100_001

    async def test_takes_an_empty_file(self, client: httpx.AsyncClient) -> None:
        reply = await client.post(UPLOAD, files={"file": ("empty.txt", b"")})

        assert (reply.status_code, reply.json()["size_bytes"]) == (201, 0)

    @pytest.mark.parametrize(
        "request_,status,reason",
        [
            (form(("pages", "", b"7")), 422, "UPLOAD_INVALID"),
            (form(FILE, ("pages", "", b"7")), 422, "UPLOAD_INVALID"),
            (form(FILE, FILE), 422, "UPLOAD_INVALID"),
            (form(*[("keywords", "", b"a")] * 20, FILE), 422, "UPLOAD_INVALID"),
            (form(("keywords", "", b"a" * 70_000), FILE), 422, "UPLOAD_INVALID"),
            (form(FILE, end=False), 400, "MALFORMED_BODY"),
            (form(("pages", "", b"\xff"), FILE), 400, "MALFORMED_BODY"),
            (form(("pages", "", b"many"), FILE), 422, "VALIDATION_FAILED"),
            (form(("shelf", "", b"s2"), FILE), 422, "VALIDATION_FAILED"),
            (form(("colour", "", b"red"), FILE), 422, "VALIDATION_FAILED"),
            ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "MALFORMED_BODY"),
            ({**form(FILE), "content": b"no form at all"}, 400, "MALFORMED_BODY"),
            ({}, 400, "MALFORMED_BODY"),
        ],
    )
    async def test_refuses(self, client: httpx.AsyncClient, request_: dict[str, Any], status: int, reason: str) -> None:
        reply = await client.post(UPLOAD, **request_)

        assert (reply.status_code, reply.json()["reason"]) == (status, reason)

    async def test_refuses_what_is_too_large(self, fronts: Any, owner: Caller) -> None:
        async with fronts(limits={"upload_bytes": 300_000}) as front, front.client(owner) as client:
            declared = await client.post(f"{UPLOAD}?file_name=a", content=b"x" * 300_001)

            async def pieces() -> AsyncIterator[bytes]:
                for _ in range(7):
                    yield b"x" * 50_000

            counted = await client.post(f"{UPLOAD}?file_name=a", content=pieces())
            good = await client.post(f"{UPLOAD}?file_name=a", content=b"x" * 300_000)

        assert (declared.status_code, declared.json()["reason"]) == (413, "BODY_TOO_LARGE")
        assert counted.status_code == 413
        assert good.status_code == 201

    async def test_hears_a_service_that_refuses_early(self, front: Front, client: httpx.AsyncClient) -> None:
        front.library.upload_limit = 1000
        reply = await client.post(f"{UPLOAD}?file_name=a", content=b"x" * 3_000_000)

        assert (reply.status_code, reply.json()["reason"]) == (422, "VALIDATION_FAILED")
        assert reply.json()["violations"][0]["field"] == "file_name"

    async def test_needs_a_credential_before_it_reads(self, front: Front) -> None:
        async with front.client() as client:
            reply = await client.post(UPLOAD, files={"file": b"x"})

        assert reply.status_code == 401


class TestDownload:
    async def test_is_an_attachment(self, client: httpx.AsyncClient) -> None:
        await client.post("/v1/books", json={"title": "Emma"})
        reply = await client.get("/v1/books/book_1:download")

        assert reply.content == b"Emma" + b"!" * 100_000
        assert reply.headers["content-type"] == "text/plain"
        assert reply.headers["content-disposition"] == "attachment; filename*=UTF-8''B%C3%BCcher.txt"

    async def test_refuses_as_a_problem(self, client: httpx.AsyncClient) -> None:
        reply = await client.get("/v1/books/book_7:download")

        assert (reply.status_code, reply.json()["reason"]) == (404, "BOOK_NOT_FOUND")

    async def test_cuts_the_connection_when_it_breaks(self, front: Front, client: httpx.AsyncClient) -> None:
        await client.post("/v1/books", json={"title": "Emma"})
        front.library.breaks_downloads = True

        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/v1/books/book_1:download")
