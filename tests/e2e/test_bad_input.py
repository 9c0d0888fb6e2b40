"""Bad input to every operation: a clear problem with reason and rules broken, in time, and never a 5xx."""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from chassis.ids import IdKind, new_id
from fleet.demo.client import JSON, Client
from tests.e2e.abuse import Abuser, raw_bodies
from tests.e2e.rows import ROWS, normalized
from tests.e2e.scene import Scene

IN_TIME_SECONDS = 10.0

WITH_BODY = [name for name, row in ROWS.items() if row.body is not None]
WITH_PATH_IDS = [name for name, row in ROWS.items() if "{" in row.path.partition("?")[0]]

GARBAGE_IDS = {
    "garbage": "nonsense",
    "an id of another kind": IdKind("wrong").show(new_id()),
    "upper case": "KB_01KB0000000000000000000000",
    "one character short": "kb_01kb000000000000000000000",
    "a space": "%20",
    "U+0000": "kb_%00",
    "a slash": "..%2F..%2Fetc%2Fpasswd",
    "dots": "%2e%2e",
    "a colon": "a%3Adelete",
    "no UTF-8": "%ff%fe",
    "half a percent code": "%zz",
    "a newline": "a%0d%0aX-Injected:%201",
    "a job of nobody": "job_nobody_01kb0000000000000000000000",
    "SQL": quote("' OR 1=1; --", safe=""),
    "not ASCII": quote("💩", safe=""),
    "very long": "x" * 4000,
}
BAD_QUERIES: dict[str, list[str]] = {
    "page_size": ["-1", "201", "abc", "1.5", "", "9" * 30, "1&page_size=2", "%00", "0x10"],
    "page_token": ["nonsense", "%00", "AAAA", "%ff", "x" * 1500, "💩", "eyJhIjoxfQ"],
    "after": ["-1", "abc", "9" * 30, "%00"],
    "no_such_parameter": ["1"],
    "pageSize": ["1"],
}
PAGED = ("/v1/api-keys", "/v1/members", "/v1/tools", "/v1/audit-entries", "/v1/runs", "/v1/agents", "/v1/permissions")
NO_ROUTES = (
    "/v1/nothing",
    "/v1",
    "/v1/agents/",
    "//v1/agents",
    "/v1/agents/%2e%2e/tools",
    "/v1/runs:nothing",
    "/v2/agents",
)
BAD_VALUES = {"integer": ["abc", "-1", "9" * 30], "boolean": ["yes", "%00"], "date-time": ["yesterday", "%00", "0"]}


@pytest.fixture(scope="module")
def api(anonymous: Client) -> JSON:
    """The fleet's openapi.json, its operations by the names that rows have."""
    described = anonymous.get("/openapi.json")
    operations = {
        f"{verb.upper()} {normalized(path)}": operation
        for path, verbs in described["paths"].items()
        for verb, operation in verbs.items()
    }
    return {**described, "operations": operations}


@pytest.fixture(scope="module")
def hostile(scene: Scene) -> Iterator[Client]:
    """The owner with a key that may call as often as it likes."""
    key = scene.owner.post("/v1/api-keys", {"display_name": "hostile", "scopes": ["*"], "requests_per_minute": 100_000})
    with scene.anonymous.holding(str(key["secret"])) as client:
        yield client


def wrong_with(reply: httpx.Response, *statuses: int, field: str | None = None) -> str:
    """Return what is wrong with the reply to a bad request, empty when it is as it should be."""
    said = f"{reply.status_code} {reply.text[:300]}"
    if reply.elapsed.total_seconds() > IN_TIME_SECONDS:
        return f"took {reply.elapsed.total_seconds():.1f} s: {said}"
    if not 400 <= reply.status_code < 500 or (statuses and reply.status_code not in statuses):
        return said
    if reply.headers["content-type"] != "application/problem+json":
        return f"{reply.headers['content-type']}: {said}"
    problem = reply.json()
    if not problem["reason"] or not problem["detail"] or problem["request_id"] != reply.headers["x-request-id"]:
        return said
    if problem["reason"] in ("VALIDATION_FAILED", "INVALID_ID") and not all(
        violation["rule"] and violation["description"] for violation in problem["violations"] or [{"rule": ""}]
    ):
        return f"no rule named: {said}"
    if field is not None and not any(names(violation["field"], field) for violation in problem["violations"]):
        return f"{field} is not named: {said}"
    return ""


def names(named: str, field: str) -> bool:
    """Tell whether a violation names a field, or what it is in or has in it."""
    return any(a == b or a.startswith((f"{b}.", f"{b}[")) for a, b in ((named, field), (field, named)))


def none_of(wrong: Mapping[str, str]) -> None:
    """Fail with every case in which something is wrong."""
    found = {case: what for case, what in wrong.items() if what}
    assert not found, "\n".join(f"{case}: {what}" for case, what in found.items())


class TestBodies:
    @pytest.mark.parametrize("operation", WITH_BODY)
    def test_each_field_is_held_to_its_rules(self, api: JSON, scene: Scene, hostile: Client, operation: str) -> None:
        row, verb = ROWS[operation], operation.partition(" ")[0]
        abuser, client = Abuser(api), scene.owner if row.fresh == "session" else hostile
        assert row.body is not None
        wrong = {}
        for abuse in abuser.bodies(abuser.schema(api["operations"][operation]), row.body(scene.ids)):
            reply = client.request(verb, row.path.format_map(scene.ids), json=abuse.body)
            wrong[abuse.name] = wrong_with(reply, 422, field=abuse.field)
        none_of(wrong)

    @pytest.mark.parametrize("operation", WITH_BODY)
    def test_what_is_no_json_object_is_refused(self, scene: Scene, hostile: Client, operation: str) -> None:
        row, verb = ROWS[operation], operation.partition(" ")[0]
        wrong = {}
        for name, content, media_type, status in raw_bodies():
            headers = {"Content-Type": media_type} if media_type else {}
            reply = hostile.request(verb, row.path.format_map(scene.ids), content=content, headers=headers)
            wrong[name] = wrong_with(reply, status)
        none_of(wrong)

    def test_an_empty_body_is_refused_where_something_must_be_said(
        self, api: JSON, scene: Scene, hostile: Client
    ) -> None:
        wrong = {}
        for operation in WITH_BODY:
            schema = Abuser(api).schema(api["operations"][operation])
            if schema.get("required") or "minProperties" in schema:
                verb, path = operation.partition(" ")[0], ROWS[operation].path.format_map(scene.ids)
                as_json = {"Content-Type": "application/json"}
                wrong[operation] = wrong_with(hostile.request(verb, path), 400, 422)
                wrong[f"{operation} as JSON"] = wrong_with(hostile.request(verb, path, headers=as_json), 400, 422)
                wrong[f"{operation} {{}}"] = wrong_with(hostile.request(verb, path, json={}), 422)
        assert len(wrong) > 60
        none_of(wrong)

    @pytest.mark.parametrize("operation", [name for name in WITH_BODY if ROWS[name].fresh != "session"])
    def test_null_is_refused_or_leaves_a_field_out(
        self, api: JSON, scene: Scene, hostile: Client, operation: str
    ) -> None:
        """What is null may be left out or cleared, but a null never ends in a fault."""
        row, verb = ROWS[operation], operation.partition(" ")[0]
        kind = re.search(r"{(\w+)}", row.path)
        ids = {**scene.ids, kind[1]: scene.make(kind[1])} if verb == "PATCH" and kind else scene.ids
        assert row.body is not None
        names: JSON = {name: uuid4().hex for name in ("display_name", "name") if name in row.body(ids)}
        good: JSON = {**row.body(ids), **names}
        wrong = {}
        for name in Abuser(api).schema(api["operations"][operation]).get("properties", {}):
            if name in good or verb == "PATCH":
                reply = hostile.request(verb, row.path.format_map(ids), json={**good, name: None})
                wrong[name] = "" if reply.status_code < 300 else wrong_with(reply, 422, 404, 409)
        none_of(wrong)


class TestPaths:
    @pytest.mark.parametrize("operation", WITH_PATH_IDS)
    def test_what_is_no_id_is_refused(self, scene: Scene, hostile: Client, operation: str) -> None:
        row, verb = ROWS[operation], operation.partition(" ")[0]
        ids = dict.fromkeys(scene.ids, "{}")
        template = row.path.format_map(ids)
        wrong = {}
        for name, text in GARBAGE_IDS.items():
            options: dict[str, Any] = {"json": row.body(scene.ids)} if row.body is not None else {}
            if row.file:
                options = {"files": {"file": ("note.txt", b"Forty brass lamps.", "text/plain")}}
            reply = hostile.request(verb, template.replace("{}", text), **options)
            wrong[name] = wrong_with(reply, 422, 404, 405)
        none_of(wrong)


class TestQueries:
    @pytest.mark.parametrize("operation", [name for name in ROWS if name.startswith("GET")])
    def test_each_parameter_is_held_to_its_rules(
        self, api: JSON, scene: Scene, hostile: Client, operation: str
    ) -> None:
        path = ROWS[operation].path.format_map(scene.ids)
        wrong = {}
        for name, text in bad_parameters(api["operations"][operation]):
            reply = hostile.request("GET", f"{path}{'&' if '?' in path else '?'}{name}={text}")
            wrong[f"{name}={text[:40]}"] = wrong_with(reply, 422, field=None if name == "page_token" else name)
        bare = path.partition("?")[0]
        for name, query, status in (
            ("not ASCII", "%ff=%fe", 422),
            ("a thousand parameters", "&".join(["a=1"] * 1000), 422),
            ("20 KiB", "a=" + "x" * 20_000, 414),
        ):
            wrong[name] = wrong_with(hostile.request("GET", f"{bare}?{query}"), status)
        none_of(wrong)

    def test_a_page_token_is_bound_to_its_list(self, scene: Scene, hostile: Client) -> None:
        tokens = {
            path: hostile.get(path, page_size=1)["next_page_token"]
            for path in (
                "/v1/api-keys",
                "/v1/members",
                "/v1/tools",
                "/v1/audit-entries",
                "/v1/runs",
                "/v1/agents",
                "/v1/permissions",
            )
        }
        wrong = {
            f"{theirs} in {mine}": wrong_with(hostile.request("GET", mine, params={"page_token": token}), 422)
            for theirs, token in tokens.items()
            if token
            for mine in tokens
            if mine != theirs
        }
        assert len([token for token in tokens.values() if token]) >= 3
        none_of(wrong)

    @pytest.mark.parametrize("start,end", [(2**31 - 1, 2**31 - 1), (2**31 - 1, 0), (10**6, 1), (5, 2)])
    def test_a_span_beyond_the_text_is_empty(self, scene: Scene, hostile: Client, start: int, end: int) -> None:
        assert hostile.get(f"/v1/documents/{scene.ids['document']}/text", start=start, end=end)["text"] == ""


def bad_parameters(operation: JSON) -> Iterator[tuple[str, str]]:
    """Yield names of query parameters with values that must be refused."""
    yield "no_such_parameter", "1"
    yield "pageSize", "1"
    for parameter in operation.get("parameters", []):
        if parameter["in"] != "query":
            continue
        name, schema = parameter["name"], parameter["schema"]
        if name.endswith("_id"):
            yield from ((name, text) for text in ("nonsense", IdKind("wrong").show(new_id()), "%00"))
        for text in BAD_QUERIES.get(name, BAD_VALUES.get(schema.get("format", schema.get("type", "")), ["%00"])):
            yield name, text
        if "$ref" in schema or "enum" in schema or "items" in schema:
            yield from ((name, text) for text in ("nonsense", "READY", "0"))
        if schema.get("maxLength", 10_000) < 4_000:
            yield name, "x" * (schema["maxLength"] + 1)
        if schema.get("type") != "array":
            yield name, f"1&{name}=1"


class TestHeaders:
    def test_idempotency_keys_are_short_and_printable(self, hostile: Client) -> None:
        wrong = {}
        for name, key in {"spaces": "a b", "long": "x" * 256, "not ASCII": "ä".encode(), "control": b"a\x01b"}.items():
            reply = hostile.request(
                "POST", "/v1/knowledge-bases", json={"display_name": uuid4().hex}, headers={"Idempotency-Key": key}
            )
            wrong[name] = wrong_with(reply, 400, 422)
        none_of(wrong)

    def test_an_idempotency_key_serves_one_request_only(self, hostile: Client) -> None:
        headers = {"Idempotency-Key": uuid4().hex}
        first = hostile.request("POST", "/v1/knowledge-bases", json={"display_name": uuid4().hex}, headers=headers)
        second = hostile.request("POST", "/v1/knowledge-bases", json={"display_name": uuid4().hex}, headers=headers)

        assert first.status_code == 201
        none_of({"another body": wrong_with(second, 422)})
        assert second.json()["reason"] == "IDEMPOTENCY_KEY_REUSED"

    def test_an_etag_that_never_was_changes_nothing(self, scene: Scene, hostile: Client) -> None:
        path, wrong = f"/v1/knowledge-bases/{scene.ids['knowledge_base']}", {}
        for etag in ('"nonsense"', "nonsense", 'W/"1"', '"' + "x" * 5000 + '"', '"-1"', '"' + "9" * 40 + '"'):
            reply = hostile.request("PATCH", path, json={"display_name": uuid4().hex}, headers={"If-Match": etag})
            wrong[etag[:40]] = wrong_with(reply, 412)
        none_of(wrong)

    def test_credentials_that_are_none_are_unauthenticated(self, scene: Scene) -> None:
        wrong = {}
        key = str(scene.owner.post("/v1/api-keys", {"display_name": "cut", "scopes": ["*"]})["secret"])
        for name, header in {
            "empty": "Bearer",
            "basic": "Basic YTpi",
            "nonsense": "Bearer nonsense",
            "like a JWT": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
            "like a key": "Bearer dfk_live_0123456789ab_" + "0" * 43 + "_000000",
            "a key that is cut": f"Bearer {key[:-1]}",
            "a key with more": f"Bearer {key}0",
            "long": "Bearer " + "x" * 20_000,
            "not ASCII": b"Bearer \xff\xfe",
            "control": b"Bearer a\x01b",
            "dots": "Bearer " + "." * 100,
        }.items():
            reply = scene.anonymous.request("GET", "/v1/users/me", headers={"Authorization": header})
            wrong[name] = wrong_with(reply, 401, 400)
        none_of(wrong)

    def test_a_stream_begins_at_a_number(self, scene: Scene, hostile: Client) -> None:
        wrong = {}
        for last in ("abc", "-1", "9" * 30, "1.5"):
            reply = hostile.request("GET", f"/v1/runs/{scene.ids['run']}/events", headers={"Last-Event-ID": last})
            wrong[last] = wrong_with(reply, 422, field="after")
        reply = hostile.request("GET", f"/v1/runs/{scene.ids['run']}/events", headers={"Accept": "application/json"})
        none_of({**wrong, "as JSON": wrong_with(reply, 406)})


class TestRoutes:
    def test_what_is_no_route_is_not_found(self, hostile: Client) -> None:
        none_of({path: wrong_with(hostile.request("GET", path), 404, 422) for path in NO_ROUTES})

    def test_a_method_that_a_route_has_not_is_refused(self, hostile: Client) -> None:
        none_of(
            {verb: wrong_with(hostile.request(verb, "/v1/agents"), 405) for verb in ("PUT", "PATCH", "DELETE", "TRACE")}
        )

    def test_the_fleet_is_unharmed(self, anonymous: Client) -> None:
        begun = time.monotonic()
        assert anonymous.request("GET", "/readyz").status_code == 200
        assert time.monotonic() - begun < IN_TIME_SECONDS
