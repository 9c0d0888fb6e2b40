"""Bad input to every operation: a clear problem with reason and rules broken, in time, and never a 5xx."""

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from chassis.ids import IdKind, new_id
from fleet.demo.client import JSON, Client
from tests.e2e.abuse import Abuser, raw_bodies, shown
from tests.e2e.rows import ROWS, normalized
from tests.e2e.scene import Scene

IN_TIME_SECONDS = 10.0

WITH_BODY = [name for name, row in ROWS.items() if row.body is not None]
WITH_PATH_IDS = [name for name, row in ROWS.items() if "{" in row.path.partition("?")[0]]
LISTS_WITH_QUERY = [name for name in ROWS if name.startswith("GET")]

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
    key = scene.owner.post(
        "/v1/api-keys", {"display_name": "hostile", "scopes": ["*"], "requests_per_minute": 100_000}
    )
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
    def test_each_field_is_held_to_its_rules(
        self, api: JSON, scene: Scene, hostile: Client, operation: str
    ) -> None:
        row, verb = ROWS[operation], operation.partition(" ")[0]
        abuser = Abuser(api)
        assert row.body is not None
        wrong = {}
        for abuse in abuser.bodies(abuser.schema(api["operations"][operation]), row.body(scene.ids)):
            reply = hostile.request(verb, row.path.format_map(scene.ids), json=abuse.body)
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

    @pytest.mark.parametrize("operation", [name for name in WITH_BODY if ROWS[name].body])
    def test_an_empty_body_is_refused_where_something_must_be_said(
        self, api: JSON, scene: Scene, hostile: Client, operation: str
    ) -> None:
        schema = Abuser(api).schema(api["operations"][operation])
        if not schema.get("required") and "minProperties" not in schema:
            pytest.skip("nothing must be said")
        verb, path = operation.partition(" ")[0], ROWS[operation].path.format_map(scene.ids)
        none_of(
            {
                "no bytes": wrong_with(hostile.request(verb, path), 400, 422),
                "no bytes, as JSON": wrong_with(
                    hostile.request(verb, path, headers={"Content-Type": "application/json"}), 400, 422
                ),
                "empty object": wrong_with(hostile.request(verb, path, json={}), 422),
            }
        )


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
