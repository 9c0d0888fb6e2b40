"""Every operation of the public API, tried by everybody: nobody, a revoked key, an expired token, a low role, a
stranger,
a colleague, and one who may. An operation without a row in rows.py fails here.
"""

import asyncio
import os
import time
from typing import Any
from unittest import mock

import httpx
import pytest
from google.api import annotations_pb2  # type: ignore[import-untyped]  # Google ships no types for it

from auth.main import build
from auth.settings import AuthSettings
from chassis.ids import IdKind, new_id
from chassis.rpc.client import Channels
from chassis.rpc.descriptors import access, packaged
from chassis.settings import load
from definable.auth.v1.account_service_pb2 import LogInRequest
from definable.auth.v1.account_service_pb2_grpc import AccountServiceStub
from definable.options.v1.options_pb2 import Access, Rank
from fleet.demo.client import Client
from fleet.launcher import Fleet
from tests.e2e.rows import ROWS, normalized
from tests.e2e.scene import NARROW, PASSWORD, Scene

UNKNOWN_KINDS = {
    "organization": "org",
    "member": "user",
    "key": "key",
    "job": "job_kb",
    "knowledge_base": "kb",
    "folder": "folder",
    "file": "file",
    "document": "doc",
    "failed_document": "doc",
    "tool": "tool",
    "execution": "exec",
    "agent": "agent",
    "run": "run",
    "conversation": "conv",
    "message": "msg",
}
"""Prefix of the ids of each kind."""


def rules() -> dict[str, Access]:
    """Return who may call each public operation, from the contracts."""
    found = {}
    for file in packaged().file:
        for service in file.service:
            for method in service.method:
                rule = method.options.Extensions[annotations_pb2.http]
                if verb := rule.WhichOneof("pattern"):
                    found[f"{verb.upper()} {normalized(getattr(rule, verb))}"] = access(method)
    return found


RULES = rules()
EVERY_ROW = pytest.mark.parametrize("operation", ROWS)


def rows_where(holds: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "operation", [name for name in ROWS if name in RULES and holds(RULES[name], ROWS[name])]
    )


@pytest.fixture(scope="module")
def expired(fleet: Fleet, scene: Scene) -> Client:
    """A client whose access token has expired."""
    return scene.anonymous.holding(asyncio.run(_expired_token(fleet, scene.people["owner"].email)))


async def _expired_token(fleet: Fleet, email: str) -> str:
    """Log in at a replica of auth whose tokens live for a second."""
    variables = {
        "AUTH_SESSIONS__ACCESS_TOKEN_LIFE": "PT1S",
        "AUTH_GRPC__LISTEN": "127.0.0.1:0",
        "AUTH_METRICS_LISTEN": "127.0.0.1:0",
    }
    with mock.patch.dict(os.environ, {**fleet.environment("auth"), **variables}):
        replica = build(load(AuthSettings))
    port = await replica.start()
    channels = Channels({"auth": f"127.0.0.1:{port}"})
    try:
        await replica.until_ready()
        session = await AccountServiceStub(channels.channel("auth")).LogIn(LogInRequest(email=email, password=PASSWORD))
    finally:
        await channels.close()
        await replica.stop(1)
    assert session.expires_in_seconds == 1
    # Clocks may differ by five seconds.
    await asyncio.sleep(6.5)
    return str(session.access_token)


def call(client: Client, operation: str, ids: dict[str, str]) -> httpx.Response:
    """Make the call of a row with these ids."""
    row, verb = ROWS[operation], operation.split(" ")[0]
    path = row.path.format_map(ids)
    if row.file:
        return client.request(verb, path, files={"file": ("note.txt", b"Forty brass lamps.", "text/plain")})
    return client.request(verb, path, json=row.body(ids) if row.body else None)


def unknown_ids() -> dict[str, str]:
    """Return well-formed ids that nobody has."""
    return {kind: IdKind(prefix).show(new_id()) for kind, prefix in UNKNOWN_KINDS.items()}


class TestCompleteness:
    def test_every_operation_has_a_row_and_every_row_an_operation(self, anonymous: Client) -> None:
        paths = anonymous.get("/openapi.json")["paths"]
        offered = {f"{verb.upper()} {normalized(path)}" for path, verbs in paths.items() for verb in verbs}

        assert offered == set(ROWS)

    def test_the_contracts_say_the_same(self) -> None:
        assert set(RULES) == set(ROWS)


class TestWithoutAValidCredential:
    @rows_where(lambda rule, row: not rule.public)
    @pytest.mark.parametrize("caller", ["nobody", "revoked", "expired"])
    def test_is_unauthenticated(self, scene: Scene, expired: Client, operation: str, caller: str) -> None:
        client = {"nobody": scene.anonymous, "revoked": scene.callers["revoked"], "expired": expired}[caller]

        reply = call(client, operation, scene.ids)

        assert reply.status_code == 401, reply.text
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["reason"] in (
            "UNAUTHENTICATED",
            "TOKEN_EXPIRED",
            "CREDENTIAL_REVOKED",
            "CREDENTIAL_INVALID",
        )


class TestWithTooLowARole:
    @rows_where(lambda rule, row: rule.permission and rule.granted_to > Rank.VIEWER)
    def test_a_viewer_is_refused(self, scene: Scene, operation: str) -> None:
        reply = call(scene.callers["viewer"], operation, scene.ids)

        assert (reply.status_code, reply.json()["reason"]) == (403, "PERMISSION_DENIED")

    @rows_where(lambda rule, row: bool(rule.permission))
    def test_a_key_without_the_scope_is_refused(self, scene: Scene, operation: str) -> None:
        scope = next(scope for scope in NARROW if scope != RULES[operation].permission)
        reply = call(scene.callers[scope], operation, scene.ids)

        assert (reply.status_code, reply.json()["reason"]) == (403, "PERMISSION_DENIED")


class TestAsAStranger:
    @rows_where(lambda rule, row: not rule.public and row.names_ids())
    def test_foreign_ids_answer_as_unknown_ones(self, scene: Scene, operation: str) -> None:
        foreign = call(scene.callers["stranger"], operation, scene.ids)
        unknown = call(scene.callers["stranger"], operation, {**scene.ids, **unknown_ids()})

        assert foreign.status_code == 404, foreign.text
        assert told(foreign) == told(unknown)

    def test_lists_show_nothing_of_the_first_organization(self, scene: Scene) -> None:
        stranger = scene.callers["stranger"]
        for operation, row in ROWS.items():
            if operation.startswith("GET") and not row.names_ids() and not RULES[operation].public:
                text = call(stranger, operation, scene.ids).text
                for kind, resource_id in scene.ids.items():
                    assert resource_id not in text, f"{operation} shows a {kind}"


def told(reply: httpx.Response) -> dict[str, Any]:
    """Return what a problem tells, without what differs by nature: request, path and the id that was asked for."""
    problem = reply.json()
    for name in ("request_id", "instance"):
        problem.pop(name, None)
    problem["metadata"] = sorted(problem.get("metadata", {}))
    return {"status": reply.status_code, **problem}


class TestAsAColleague:
    @rows_where(lambda rule, row: row.owned)
    def test_what_belongs_to_a_person_is_not_found(self, scene: Scene, operation: str) -> None:
        own = call(scene.callers["colleague"], operation, scene.ids)
        unknown = call(scene.callers["colleague"], operation, {**scene.ids, **unknown_ids()})

        assert own.status_code == 404, own.text
        assert told(own) == told(unknown)


class TestAsOneWhoMay:
    @pytest.mark.parametrize("operation", [name for name in ROWS if not name.startswith("POST /v1/auth")])
    def test_succeeds(self, scene: Scene, operation: str) -> None:
        row = ROWS[operation]
        ids = dict(scene.ids)
        if row.fresh and row.fresh != "session":
            ids[row.fresh] = scene.make(row.fresh)
        client = scene.another_session() if row.fresh == "session" else scene.callers[row.by]

        reply = call(client, operation, ids)

        assert reply.status_code == row.status, reply.text

    def test_each_change_left_a_record(self, scene: Scene) -> None:
        """What the first organization's people changed is in its audit log, by request."""
        reply = call(scene.owner, "PATCH /v1/knowledge-bases/{}", scene.ids)
        request_id = reply.headers["x-request-id"]
        until = time.monotonic() + 20
        while time.monotonic() < until:
            entries = scene.owner.get("/v1/audit-entries", page_size=200)["audit_entries"]
            if any(entry["request_id"] == request_id for entry in entries):
                return
            time.sleep(0.2)
        raise AssertionError(f"{request_id} is not in the audit log")
