from typing import Any

import httpx
import pytest

from chassis.rpc.caller import Caller

from ..conftest import Front  # noqa: TID252  # tests are installed nowhere


class TestUnary:
    async def test_creates_with_location_etag_and_201(self, front: Front, client: httpx.AsyncClient) -> None:
        reply = await client.post("/v1/books", json={"title": "Emma", "genre": "novel", "printed": 2**53})

        assert reply.status_code == 201
        assert reply.headers["location"] == "/v1/books/book_1"
        assert reply.headers["etag"] == '"e1"'
        body = reply.json()
        assert (body["title"], body["genre"], body["printed"], body["subtitle"]) == ("Emma", "novel", 2**53, None)

    async def test_gets_by_path(self, client: httpx.AsyncClient) -> None:
        await client.post("/v1/books", json={"title": "Emma"})

        assert (await client.get("/v1/books/book_1")).json()["title"] == "Emma"
        assert (await client.get("/v1/shelves/s1/books/book_1")).json()["title"] == "Emma"
        assert (await client.head("/v1/books/book_1")).status_code == 200

    async def test_reads_queries(self, front: Front, client: httpx.AsyncClient) -> None:
        query = "page_size=7&genres=novel&genres=essay&published_after=2026-01-02T03:04:05Z&available=false"
        reply = await client.get(f"/v1/books?{query}")

        assert reply.status_code == 200
        request = front.library.requests[-1]
        assert (request.page_size, list(request.genres)) == (7, [1, 2])
        assert request.published_after.seconds == 1767323045
        assert request.HasField("available")
        assert not request.available

    @pytest.mark.parametrize(
        "query,field,rule",
        [
            ("page_size=x", "page_size", "type"),
            ("page_size=1&page_size=2", "page_size", "repeated"),
            ("genres=wrong", "genres[0]", "enum"),
            ("colour=red", "colour", "unknown_field"),
            ("page_token=%00", "page_token", "nul"),
            ("page_token=%FF", "", "query"),
        ],
    )
    async def test_refuses_wrong_queries(self, client: httpx.AsyncClient, query: str, field: str, rule: str) -> None:
        reply = await client.get(f"/v1/books?{query}")

        assert reply.status_code == 422
        assert [(v["field"], v["rule"]) for v in reply.json()["violations"]] == [(field, rule)]

    async def test_patches_with_a_mask(self, front: Front, client: httpx.AsyncClient) -> None:
        await client.post("/v1/books", json={"title": "Emma"})
        reply = await client.patch("/v1/books/book_1", json={"title": "E", "subtitle": None, "author": {"name": "J"}})

        assert reply.status_code == 200
        request = front.library.requests[-1]
        assert list(request.update_mask.paths) == ["title", "subtitle", "author"]
        assert request.book.id == "book_1"
        assert not request.book.HasField("subtitle")
        assert request.book.author.name == "J"

    @pytest.mark.parametrize(
        "body,field,rule",
        [
            ({}, "", "required"),
            ([], "", "type"),
            ({"etag": "x"}, "etag", "output_only"),
            ({"id": None}, "id", "output_only"),
            ({"isbn": "1"}, "isbn", "immutable"),
            ({"author": {"nmae": "x"}}, "author.nmae", "unknown_field"),
        ],
    )
    async def test_refuses_wrong_patches(self, client: httpx.AsyncClient, body: Any, field: str, rule: str) -> None:
        reply = await client.patch("/v1/books/book_1", json=body)

        assert reply.status_code == 422
        assert [(v["field"], v["rule"]) for v in reply.json()["violations"]] == [(field, rule)]

    async def test_deletes_without_a_body(self, client: httpx.AsyncClient) -> None:
        await client.post("/v1/books", json={"title": "Emma"})
        reply = await client.delete("/v1/books/book_1")

        assert (reply.status_code, reply.content) == (204, b"")

    async def test_takes_verbs_without_a_body(self, front: Front, client: httpx.AsyncClient) -> None:
        await client.post("/v1/books", json={"title": "Emma"})

        assert (await client.post("/v1/books/book_1:archive")).status_code == 200
        assert (await client.post("/v1/books/book_1:archive", json={"note": "old"})).status_code == 200
        assert front.library.requests[-1].note == "old"
        refused = await client.post("/v1/books/book_1:archive", json={"id": "book_2"})
        assert refused.json()["violations"][0]["field"] == "id"

    async def test_replays(self, client: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": "k-1"}
        first = await client.post("/v1/books", json={"title": "Emma"}, headers=headers)
        again = await client.post("/v1/books", json={"title": "Emma"}, headers=headers)

        assert first.json() == again.json()
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        bad = await client.post("/v1/books", json={"title": "X"}, headers={"Idempotency-Key": "a b"})
        assert bad.json()["violations"][0]["field"] == "Idempotency-Key"

    async def test_passes_if_match_without_quotes(self, client: httpx.AsyncClient) -> None:
        await client.post("/v1/books", json={"title": "Emma"})

        for etag in ('"e1"', 'W/"e1"', "e1", "*"):
            reply = await client.patch("/v1/books/book_1", json={"title": "E"}, headers={"If-Match": etag})
            assert reply.status_code == 200
        refused = await client.patch("/v1/books/book_1", json={"title": "E"}, headers={"If-Match": '"e0"'})
        assert (refused.status_code, refused.json()["reason"]) == (412, "ETAG_MISMATCH")

    async def test_routes_jobs_by_their_id(self, client: httpx.AsyncClient) -> None:
        known = await client.get("/v1/jobs/job_library_" + "0" * 26)
        unknown = await client.get("/v1/jobs/job_nowhere_" + "0" * 26)
        wrong = await client.get("/v1/jobs/kb_1")

        # The library was asked, and has no jobs.
        assert (known.status_code, known.json()["metadata"]) == (501, {"dependency": "library"})
        assert (unknown.status_code, unknown.json()["reason"]) == (422, "INVALID_ID")
        assert (wrong.status_code, wrong.json()["reason"]) == (422, "INVALID_ID")


class TestHeaders:
    async def test_sends_what_a_service_needs(self, front: Front) -> None:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        async with front.client() as client:
            headers = {"X-Request-Id": "request-1234", "traceparent": trace, "X-Forwarded-For": "203.0.113.9"}
            reply = await client.get("/v1/books:call", headers=headers)

        sent = reply.json()["metadata"]
        assert sent["x-request-id"] == reply.headers["x-request-id"] == "request-1234"
        assert sent["traceparent"] == trace
        assert sent["x-client-address"] == "127.0.0.1"
        assert "authorization" not in sent

    async def test_believes_trusted_proxies_only(self, fronts: Any) -> None:
        async with fronts(trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"]) as front, front.client() as client:
            forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9, 10.1.1.1"}
            reply = await client.get("/v1/books:call", headers=forwarded)

        assert reply.json()["metadata"]["x-client-address"] == "203.0.113.9"

    async def test_makes_up_a_request_id(self, front: Front) -> None:
        async with front.client() as client:
            reply = await client.get("/v1/books:call", headers={"X-Request-Id": "bad id!"})

        assert len(reply.headers["x-request-id"]) == 32

    async def test_tells_browsers_to_run_nothing(self, front: Front) -> None:
        async with front.client() as client:
            reply = await client.get("/v1/books:call")

        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in reply.headers["content-security-policy"]

    async def test_allows_named_origins(self, fronts: Any) -> None:
        async with fronts(cors={"origins": ["https://app.example.org"]}) as front, front.client() as client:
            asked = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
            allowed = await client.options("/v1/books", headers=asked)
            other = await client.options("/v1/books", headers=asked | {"Origin": "https://evil.example.org"})

        assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
        assert "access-control-allow-origin" not in other.headers
        assert "access-control-allow-credentials" not in allowed.headers


class TestProblems:
    async def test_carries_reason_metadata_and_request_id(self, client: httpx.AsyncClient) -> None:
        reply = await client.get("/v1/books/book_9")

        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json() == {
            "type": "urn:definable:problem:BOOK_NOT_FOUND",
            "title": "Not Found",
            "status": 404,
            "detail": "There is no such book.",
            "instance": "/v1/books/book_9",
            "reason": "BOOK_NOT_FOUND",
            "metadata": {"id": "book_9"},
            "violations": [],
            "request_id": reply.headers["x-request-id"],
        }

    async def test_names_fields_as_the_client_sent_them(self, client: httpx.AsyncClient) -> None:
        reply = await client.post("/v1/books", json={"title": ""})

        assert [v["field"] for v in reply.json()["violations"]] == ["title"]

    async def test_hides_what_went_wrong_inside(self, client: httpx.AsyncClient) -> None:
        reply = await client.get("/v1/books/book_broken")

        assert (reply.status_code, reply.json()["reason"]) == (500, "INTERNAL")
        assert "SELECT" not in reply.text

    async def test_gives_up_at_the_deadline(self, fronts: Any, owner: Caller) -> None:
        async with fronts(deadlines={"unary_seconds": 0.3}) as front, front.client(owner) as client:
            reply = await client.get("/v1/books/book_slow")

        assert (reply.status_code, reply.json()["reason"]) == (504, "DEADLINE_EXCEEDED")

    async def test_answers_503_while_a_service_is_down_and_comes_back(self, front: Front, owner: Caller) -> None:
        async with front.client(owner) as client:
            assert (await client.get("/v1/books")).status_code == 200
            port = front.library.port
            await front.library.stop()
            down = await client.get("/v1/books")
            assert (down.status_code, down.json()["reason"]) == (503, "DEPENDENCY_UNAVAILABLE")
            assert down.json()["metadata"] == {"dependency": "library"}
            assert int(down.headers["retry-after"]) >= 1
            await front.library.start(port)
            for _ in range(100):
                if (await client.get("/v1/books")).status_code == 200:
                    return
        pytest.fail("the library was not found again")

    @pytest.mark.parametrize(
        "method,path,status,reason",
        [
            ("GET", "/v1/nothing", 404, "ROUTE_NOT_FOUND"),
            ("GET", "/", 404, "ROUTE_NOT_FOUND"),
            ("GET", "/v1/books/", 404, "ROUTE_NOT_FOUND"),
            ("GET", "/v1/books/book_1/", 404, "ROUTE_NOT_FOUND"),
            ("GET", "//v1/books", 404, "ROUTE_NOT_FOUND"),
            ("GET", "/v1/books/a%2Fb", 404, "BOOK_NOT_FOUND"),
            ("PUT", "/v1/books", 405, "METHOD_NOT_ALLOWED"),
            ("DELETE", "/docs", 405, "METHOD_NOT_ALLOWED"),
        ],
    )
    async def test_refuses_unknown_routes(
        self, client: httpx.AsyncClient, method: str, path: str, status: int, reason: str
    ) -> None:
        reply = await client.request(method, path)

        assert (reply.status_code, reply.json()["reason"]) == (status, reason)
        assert reply.headers["content-type"] == "application/problem+json"
        assert status != 405 or reply.headers["allow"]


class TestBodies:
    @pytest.mark.parametrize(
        "body,status,reason",
        [
            (b"", 400, "MALFORMED_BODY"),
            (b"{", 400, "MALFORMED_BODY"),
            (b'{"title": NaN}', 400, "MALFORMED_BODY"),
            (b'{"title": "\\ud800"}', 400, "MALFORMED_BODY"),
            (b'{"title": "a", "title": "b"}', 400, "MALFORMED_BODY"),
            (b'{"notes": {"a": 1, "a": 2}}', 400, "MALFORMED_BODY"),
            (b'{"notes": ' + b'{"a":' * 64 + b"1" + b"}" * 65, 400, "MALFORMED_BODY"),
            (b'{"title": "\xff"}', 400, "MALFORMED_BODY"),
            (b'{"title": "a\\u0000b"}', 422, "VALIDATION_FAILED"),
            (b'{"notes": {"a": "\\u0000"}}', 422, "VALIDATION_FAILED"),
            (b'"text"', 422, "VALIDATION_FAILED"),
            (b'{"printed": 9007199254740993}', 422, "VALIDATION_FAILED"),
            (b'{"pages": 99999999999999999999999999}', 422, "VALIDATION_FAILED"),
            (b'{"title": "' + b"a" * 1_100_000 + b'"}', 413, "BODY_TOO_LARGE"),
        ],
    )
    async def test_refuses(self, client: httpx.AsyncClient, body: bytes, status: int, reason: str) -> None:
        reply = await client.post("/v1/books", content=body, headers={"Content-Type": "application/json"})

        assert (reply.status_code, reply.json()["reason"]) == (status, reason)

    async def test_takes_free_form_json_as_deep_as_protobuf_can(self, client: httpx.AsyncClient) -> None:
        def nested(depth: int) -> dict[str, Any]:
            return {"a": nested(depth - 1)} if depth > 1 else {}

        taken = await client.post("/v1/books", json={"title": "Deep", "notes": nested(28)})
        refused = await client.post("/v1/books", json={"title": "Deeper", "notes": nested(29)})

        assert taken.json()["notes"] == nested(28)
        assert refused.json()["violations"][0]["rule"] == "depth"

    async def test_takes_messages_within_each_other(self, client: httpx.AsyncClient) -> None:
        def author(depth: int) -> dict[str, Any]:
            return {"name": str(depth), "aliases": [author(depth - 1)] if depth else []}

        taken = await client.post("/v1/books", json={"title": "Deep", "author": author(30)})
        refused = await client.post("/v1/books", json={"title": "Deeper", "author": author(32)})

        assert taken.json()["author"] == author(30)
        assert (refused.status_code, refused.json()["reason"]) == (400, "MALFORMED_BODY")

    async def test_takes_json_only(self, client: httpx.AsyncClient) -> None:
        reply = await client.post("/v1/books", content=b"{}", headers={"Content-Type": "text/plain"})

        assert (reply.status_code, reply.json()["reason"]) == (415, "UNSUPPORTED_MEDIA_TYPE")

    async def test_counts_chunked_bodies(self, client: httpx.AsyncClient) -> None:
        async def chunks() -> Any:
            for _ in range(40):
                yield b" " * 65536

        reply = await client.post("/v1/books", content=chunks(), headers={"Content-Type": "application/json"})

        assert reply.status_code == 413


class TestOperations:
    async def test_says_what_it_is(self, front: Front) -> None:
        async with front.client() as client:
            alive = await client.get("/healthz")
            ready = await client.get("/readyz")
            metrics = await client.get("/metrics")
            document = (await client.get("/openapi.json")).json()
            docs, redoc = await client.get("/docs"), await client.get("/redoc")
            script = await client.get("/static-offline-docs/swagger-ui-bundle.js")

        assert alive.json() == {"status": "alive"}
        assert ready.status_code == 200, ready.json()
        assert ready.json()["dependencies"]["library"] == {"status": "ready", "contract": "current"}
        assert "gateway_requests_total" in metrics.text
        assert "/v1/books/{id}:archive" in document["paths"]
        assert "static-offline-docs" in docs.text
        assert "static-offline-docs" in redoc.text
        assert "https://" not in docs.text.replace("https://fastapi", "")
        assert script.status_code == 200

    async def test_is_unready_without_a_service(self, front: Front) -> None:
        await front.library.stop()
        async with front.client() as client:
            unready = await client.get("/readyz")
            enough = await client.get("/readyz?require=auth")

        assert unready.status_code == 503
        assert unready.json()["dependencies"]["library"]["status"] == "unavailable"
        assert enough.status_code == 200
