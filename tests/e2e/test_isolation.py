"""Two busy organizations: no byte of the one is in any reply to the other."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest

from fleet.demo.client import JSON, Client, Refused
from tests.e2e.rows import ROWS
from tests.e2e.tenants import LISTS, Tenant, member, pages
from tests.e2e.test_bad_input import none_of

BY_ID = [name for name, row in ROWS.items() if "{" in row.path]
FILTERED = {
    "/v1/knowledge-bases": ("query", "canary"),
    "/v1/files": ("query", "canary"),
    "/v1/audit-entries": ("actor", "key"),
    "/v1/events": ("type_prefix", ""),
    "/v1/runs": ("agent_id", "agent"),
    "/v1/conversations": ("agent_id", "agent"),
    "/v1/tool-executions": ("tool_id", "tool"),
    "/v1/jobs": ("service", ""),
}


@pytest.fixture(scope="module")
def tenants(anonymous: Client) -> tuple[Tenant, Tenant]:
    """A and B, who have done the same things."""
    return Tenant(anonymous).build(), Tenant(anonymous).build()


@pytest.fixture(scope="module")
def a(tenants: tuple[Tenant, Tenant]) -> Tenant:
    """The organization that is looked for."""
    return tenants[0]


@pytest.fixture(scope="module")
def b(tenants: tuple[Tenant, Tenant]) -> Tenant:
    """The organization that looks."""
    return tenants[1]


def leaked(a: Tenant, reply: httpx.Response, *, asked: Mapping[str, str] | str = "") -> str:
    """Return what of A's is in a reply, in body or headers, beyond what was asked with."""
    text = reply.text + str(reply.headers)
    for own in [asked] if isinstance(asked, str) else asked.values():
        text = text.replace(own, "") if own else text
    found = [word for word in (a.canary, *a.seen) if word in text]
    return f"{reply.status_code} shows {found}: {reply.text[:300]}" if found else ""


class TestTheLooker:
    def test_sees_itself(self, a: Tenant, b: Tenant) -> None:
        """Without this the other tests could pass by seeing nothing at all."""
        text = "".join(reply.text for _, reply in b.all_lists())

        assert b.canary in text
        assert {kind: b.ids[kind] for kind in b.ids if b.ids[kind] not in text and kind not in ("message",)}.keys() <= {
            "folder",
            "document",
            "failed_document",
        }
        assert len(a.seen) > 25
        assert not a.seen & b.seen


class TestLists:
    def test_show_nothing_of_another_organization(self, a: Tenant, b: Tenant) -> None:
        none_of({path: leaked(a, reply) for path, reply in b.all_lists()})

    def test_show_nothing_when_they_are_filtered_by_what_is_anothers(self, a: Tenant, b: Tenant) -> None:
        wrong = {}
        for path, (name, kind) in FILTERED.items():
            value = {"canary": a.canary, "": ""}.get(kind) if kind in ("canary", "") else a.ids[kind]
            for asked, reply in pages(b.client, f"{path}?{name}={value}&page_size=200"):
                wrong[asked] = leaked(a, reply, asked=str(value))
                items = next((v for v in reply.json().values() if isinstance(v, list)), []) if value else []
                if reply.status_code != 200 or items:
                    wrong[f"{asked} has items"] = reply.text[:300]
        none_of(wrong)

    def test_take_no_page_token_of_another_organization(self, a: Tenant, b: Tenant) -> None:
        wrong, tokens = {}, 0
        for operation in LISTS:
            path = operation.partition(" ")[2]
            page = a.client.request("GET", path, params={"page_size": 1}).json()
            if token := page.get("next_page_token"):
                tokens += 1
                reply = b.client.request("GET", path, params={"page_size": 200, "page_token": token})
                wrong[path] = leaked(a, reply, asked=token)
        assert tokens > 3
        none_of(wrong)


class TestSearches:
    @pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
    def test_find_nothing_of_another_organization(self, a: Tenant, b: Tenant, mode: str) -> None:
        body = {"query": f"{a.canary} keeper brass lamps", "mode": mode, "top_k": 100}
        own = b.client.request(
            "POST", "/v1/knowledge-bases:search", json={**body, "knowledge_base_ids": [b.ids["knowledge_base"]]}
        )
        both = [b.ids["knowledge_base"], a.ids["knowledge_base"]]
        mixed = b.client.request("POST", "/v1/knowledge-bases:search", json={**body, "knowledge_base_ids": both})

        assert own.json()["hits"]
        assert mixed.status_code == 404
        none_of({"own": leaked(a, own), "mixed": leaked(a, mixed, asked=a.ids["knowledge_base"])})


class TestErrors:
    def test_tell_nothing_of_what_they_refuse(self, a: Tenant, b: Tenant) -> None:
        """B asks for A's resources by their ids, with every operation that takes some."""
        wrong = {}
        for operation in BY_ID:
            reply = call(b.client, operation, a.ids)
            wrong[operation] = leaked(a, reply, asked=a.ids)
            if reply.status_code < 400 or reply.status_code >= 500:
                wrong[operation] = f"{reply.status_code} {reply.text[:300]}"
        none_of(wrong)

    def test_a_stream_is_not_begun(self, a: Tenant, b: Tenant) -> None:
        reply = b.client.request(
            "GET", f"/v1/runs/{a.ids['run']}/events", headers={"Accept": "text/event-stream", "Last-Event-ID": "1"}
        )

        assert reply.status_code == 404
        none_of({"events": leaked(a, reply, asked=a.ids["run"])})

    def test_everything_of_the_first_is_still_there(self, a: Tenant) -> None:
        for path in ("knowledge-bases/{knowledge_base}", "documents/{document}", "agents/{agent}", "tools/{tool}"):
            assert a.canary in a.client.request("GET", f"/v1/{path.format_map(a.ids)}").text
        assert a.client.get(f"/v1/api-keys/{a.ids['key']}")["revoke_time"] is None


def call(client: Client, operation: str, ids: Mapping[str, str]) -> httpx.Response:
    """Make the call of a row with these ids."""
    row, verb = ROWS[operation], operation.partition(" ")[0]
    options: dict[str, Any] = {"json": row.body(ids)} if row.body else {}
    if row.file:
        options = {"files": {"file": ("note.txt", b"Forty brass lamps.", "text/plain")}}
    return client.request(verb, row.path.format_map(ids), **options)


class TestReferences:
    """What B makes may not refer to what is A's."""

    @pytest.mark.parametrize(
        ("field", "definition"),
        [
            ("definition.knowledge_base_ids[0]", lambda ids: {"knowledge_base_ids": [ids["knowledge_base"]]}),
            ("definition.tools[0].tool_id", lambda ids: {"tools": [{"tool_id": ids["tool"]}]}),
        ],
    )
    def test_an_agent_that_names_anothers_is_not_published(
        self, a: Tenant, b: Tenant, field: str, definition: Any
    ) -> None:
        body = {"display_name": uuid4().hex, "definition": definition(a.ids)}
        agent = b.client.post("/v1/agents", body)["id"]
        reply = b.client.request("POST", f"/v1/agents/{agent}:publish", json={})

        assert reply.status_code == 422, reply.text
        assert reply.json()["violations"][0]["field"] == field
        assert not leaked(a, reply, asked=a.ids)

    @pytest.mark.parametrize("kind", ["knowledge_base", "tool"])
    def test_a_run_that_names_anothers_fails_without_a_trace_of_it(self, a: Tenant, b: Tenant, kind: str) -> None:
        theirs = {"knowledge_base": {"knowledge_base_ids": [a.ids["knowledge_base"]]}}
        definition = theirs.get(kind, {"tools": [{"tool_id": a.ids["tool"]}]})
        body = {"definition": definition, "input": f'How many lamps?\n/tool {a.canary} {{"word": "x"}}'}
        reply = b.client.request("POST", "/v1/runs", json=body, headers={"Accept": "text/event-stream"})

        none_of({"stream": leaked(a, reply, asked={**a.ids, "canary": a.canary})})
        assert "retrieval.completed" not in reply.text
        assert "run.failed" in reply.text or reply.status_code in (404, 422), reply.text

    def test_nothing_is_made_in_or_moved_to_what_is_anothers(self, a: Tenant, b: Tenant) -> None:
        own, theirs = b.ids, a.ids
        attempts: dict[str, tuple[str, JSON]] = {
            "a document in a folder": (
                f"/v1/knowledge-bases/{own['knowledge_base']}/documents",
                {"title": "x", "text": "x", "folder_id": theirs["folder"]},
            ),
            "a folder in a base": ("/v1/folders", {"knowledge_base_id": theirs["knowledge_base"], "display_name": "x"}),
            "a folder in a folder": (
                "/v1/folders",
                {
                    "knowledge_base_id": own["knowledge_base"],
                    "parent_id": theirs["folder"],
                    "display_name": "x",
                },
            ),
            "a folder moved": (f"/v1/folders/{own['folder']}:move", {"parent_id": theirs["folder"]}),
            "a run of an agent": ("/v1/runs", {"agent_id": theirs["agent"], "input": "x"}),
            "a session in an organization": (
                "/v1/auth/switch-organization",
                {"organization_id": theirs["organization"]},
            ),
        }
        wrong = {}
        for name, (path, body) in attempts.items():
            client = b.session if "session" in name else b.client
            reply = client.request("POST", path, json=body)
            wrong[name] = leaked(a, reply, asked=theirs)
            if reply.status_code != 404:
                wrong[name] = f"{reply.status_code} {reply.text[:300]}"
        none_of(wrong)

    def test_a_conversation_with_anothers_agent_gets_no_answer(self, a: Tenant, b: Tenant) -> None:
        """Foreign and unknown agents are noticed when the first message is sent."""
        made = b.client.request("POST", "/v1/conversations", json={"agent_id": a.ids["agent"]})
        path = f"/v1/conversations/{made.json()['id']}/messages"
        sent = b.client.request("POST", path, json={"content": "x"})
        wrong = {"made": leaked(a, made, asked=a.ids), "sent": leaked(a, sent, asked=a.ids)}
        if sent.status_code < 300:
            b.until(lambda: b.client.request("GET", path).json()["messages"][-1]["state"] == "failed")
            reply = b.client.request("GET", path)
            wrong["answer"] = leaked(a, reply, asked=a.ids)
            assert reply.json()["messages"][-1]["error_reason"] == "AGENT_NOT_FOUND", reply.text
        none_of(wrong)


class TestNames:
    def test_two_organizations_may_use_the_same(self, a: Tenant, b: Tenant) -> None:
        """A refusal would tell B what A has."""
        for path, body in (
            ("/v1/knowledge-bases", {"display_name": a.canary}),
            ("/v1/agents", {"display_name": a.canary}),
            ("/v1/tools", {"name": a.canary, "description": "x", "http": {"method": "GET", "url": "https://a.b/"}}),
        ):
            made = b.client.post(path, body)
            b.client.delete(f"{path}/{made['id']}")

    def test_two_organizations_may_use_the_same_idempotency_key(self, a: Tenant, b: Tenant) -> None:
        key, body = uuid4().hex, {"display_name": uuid4().hex}
        first = a.client.post("/v1/knowledge-bases", body, key=key)
        second = b.client.post("/v1/knowledge-bases", body, key=key)
        again = a.client.post("/v1/knowledge-bases", body, key=key)

        assert first["id"] == again["id"] != second["id"]


@pytest.fixture(scope="module")
def end_users(b: Tenant) -> Iterator[dict[str, Client]]:
    """Keys of two people, one of them an owner, each for an end user of their product or for nobody else."""
    developer, _ = member(b.anonymous, b.session, "developer")
    clients = {}
    for name, maker in (("alice", developer), ("bob", developer), ("", developer), ("carol", b.session)):
        body = {"display_name": name or "own", "scopes": ["*"], "end_user": name}
        clients[name] = b.anonymous.holding(str(maker.post("/v1/api-keys", body)["secret"]))
    yield clients
    for client in clients.values():
        client.__exit__(None, None, None)


class TestEndUsers:
    def test_of_one_key_see_nothing_of_anothers_conversations(self, end_users: dict[str, Client]) -> None:
        alice, *others = (end_users[name] for name in ("alice", "bob", "", "carol"))
        conversation = alice.post("/v1/conversations", {"model": "offline", "title": "alices"})["id"]
        sent = alice.post(f"/v1/conversations/{conversation}/messages", {"content": "alices secret?"})
        owned = [
            f"/v1/conversations/{conversation}",
            f"/v1/conversations/{conversation}/messages",
            f"/v1/messages/{sent['answer']['id']}",
            f"/v1/runs/{sent['run_id']}",
            f"/v1/runs/{sent['run_id']}/steps",
            f"/v1/runs/{sent['run_id']}/events",
        ]

        assert [alice.request("GET", path).status_code for path in owned] == [200] * len(owned)
        for other in others:
            assert [other.request("GET", path).status_code for path in owned] == [404] * len(owned)
            for path in ("/v1/conversations", "/v1/runs"):
                text = "".join(reply.text for _, reply in pages(other, path))
                assert "alices" not in text
                assert sent["run_id"] not in text
            for verb, path, body in (
                ("POST", f"{owned[0]}/messages", {"content": "x"}),
                ("PATCH", owned[0], {"title": "x"}),
                ("DELETE", owned[0], None),
                ("POST", f"{owned[2]}:stop", {}),
                ("POST", f"{owned[3]}:cancel", {}),
            ):
                assert other.request(verb, path, json=body).status_code == 404

    def test_of_one_key_hear_of_nobody_elses_runs(self, end_users: dict[str, Client]) -> None:
        run = end_users["alice"].post("/v1/runs", {"input": "x"})["run_id"]
        Tenant.until(lambda: run in "".join(reply.text for _, reply in pages(end_users["alice"], "/v1/events")))

        assert run not in "".join(reply.text for _, reply in pages(end_users["bob"], "/v1/events"))

    def test_of_one_key_make_keys_for_nobody_else(self, end_users: dict[str, Client]) -> None:
        made = end_users["alice"].post("/v1/api-keys", {"display_name": "x", "scopes": ["kb.*"], "end_user": "bob"})

        assert made["api_key"]["end_user"] == "alice"

    def test_stay_who_they_are(self, end_users: dict[str, Client]) -> None:
        key = next(end_users[""].list("/v1/api-keys", "api_keys"))
        with pytest.raises(Refused) as refusal:
            end_users[""].patch(f"/v1/api-keys/{key['id']}", {"end_user": "alice"})

        assert refusal.value.status == 422
