"""Organizations that do a little of everything, with a word of their own in every text they give."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from fleet.demo.client import JSON, Client
from tests.e2e.rows import ROWS
from tests.e2e.scene import PASSWORD

AN_ID = re.compile(r"\b[a-z]+(?:_[a-z]+)*_[0-7][0-9a-hjkmnp-tv-z]{25}\b")
LISTS = [name for name, row in ROWS.items() if name.startswith("GET /v1/") and "{" not in row.path]
BUSY_SECONDS = 120


def person(anonymous: Client, name: str, **fields: str) -> tuple[Client, JSON]:
    """Sign somebody up; return a client with a session of theirs and what sign-up said."""
    email = f"{name.lower()}-{uuid4().hex[:10]}@example.org"
    signed = anonymous.post("/v1/auth/sign-up", {"email": email, "password": PASSWORD, **fields})
    return logged_in(anonymous, email), signed


def logged_in(anonymous: Client, email: str) -> Client:
    """Return a client with a new session."""
    session = anonymous.post("/v1/auth/log-in", {"email": email, "password": PASSWORD})
    return anonymous.holding(str(session["access_token"]))


def member(anonymous: Client, owner: Client, role: str) -> tuple[Client, JSON]:
    """Make somebody new a member of the owner's organization; return their session in it and who they are."""
    client, signed = person(anonymous, role)
    owner.post("/v1/members", {"email": signed["user"]["email"], "role": role})
    organization = owner.get("/v1/organization")["id"]
    session = client.post("/v1/auth/switch-organization", {"organization_id": organization})
    return anonymous.holding(str(session["access_token"])), dict(signed["user"])


@dataclass
class Tenant:
    """One organization and its owner. `canary` is in whatever of theirs can hold a text."""

    anonymous: Client
    canary: str = field(default_factory=lambda: f"canary{uuid4().hex[:16]}")
    ids: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def build(self) -> "Tenant":
        """Sign up and leave something in every service."""
        name = self.canary
        session, signed = person(self.anonymous, name, display_name=name, organization_name=name)
        self.session = session
        self.ids |= {"member": signed["user"]["id"], "organization": signed["organization_id"]}
        key = session.post(
            "/v1/api-keys",
            {"display_name": name, "scopes": ["*"], "requests_per_minute": 100_000, "end_user": ""},
        )
        self.ids["key"] = key["api_key"]["id"]
        self.client = self.anonymous.holding(str(key["secret"]))
        self._store()
        self._make_tools()
        self._converse()
        self._wait_for_the_feed()
        self.seen = set(AN_ID.findall("".join(reply.text for _, reply in self.all_lists()))) | set(self.ids.values())
        self.seen -= {str(tool["id"]) for tool in self.client.list("/v1/tools", "tools") if tool["kind"] == "builtin"}
        return self

    def _post(self, kind: str, path: str, body: JSON) -> JSON:
        made = self.client.post(path, body)
        self.ids[kind] = str(made["id"])
        return made

    def _store(self) -> None:
        name, client = self.canary, self.client
        base = self._post("knowledge_base", "/v1/knowledge-bases", {"display_name": name, "description": name})["id"]
        folder = self._post("folder", "/v1/folders", {"knowledge_base_id": base, "display_name": name})["id"]
        text = f"The {name} keeper keeps forty brass lamps in the northern store."
        body = {"title": name, "text": text, "folder_id": folder, "metadata": {name: [name]}}
        self._post("document", f"/v1/knowledge-bases/{base}/documents", body)
        file = client.upload("/v1/files", name=f"{name}.txt", content_type="text/plain", content=text.encode())
        broken = client.upload(
            f"/v1/knowledge-bases/{base}/documents:upload",
            name=f"{name}.pdf",
            content_type="application/pdf",
            content=f"%PDF-1.4 {name}".encode(),
        )
        self.ids |= {"file": file["id"], "failed_document": broken["id"]}
        for kind in ("document", "failed_document"):
            self.until(lambda kind=kind: client.get(f"/v1/documents/{self.ids[kind]}")["state"] in ("ready", "failed"))

    def _make_tools(self) -> None:
        name = self.canary
        http = {
            "method": "POST",
            "url": f"http://127.0.0.1:9/{name}/{{word}}",
            "headers": {"X-Word": name},
            "body": name,
        }
        schema = {"type": "object", "properties": {"word": {"type": "string", "description": name}}}
        tool = self._post(
            "tool", "/v1/tools", {"name": name, "description": name, "http": http, "input_schema": schema}
        )
        executed = self.client.post(f"/v1/tools/{tool['id']}:execute", {"arguments": {"word": name}})
        self.ids["execution"] = str(executed["id"])

    def _converse(self) -> None:
        name, client = self.canary, self.client
        definition = {
            "instructions": name,
            "knowledge_base_ids": [self.ids["knowledge_base"]],
            "tools": [{"tool_id": self.ids["tool"]}],
        }
        agent = self._post(
            "agent", "/v1/agents", {"display_name": name, "description": name, "definition": definition}
        )["id"]
        client.post(f"/v1/agents/{agent}:publish", {"note": name})
        conversation = self._post("conversation", "/v1/conversations", {"agent_id": agent, "title": name})["id"]
        sent = client.post(f"/v1/conversations/{conversation}/messages", {"content": f"How many {name} lamps?"})
        self.ids |= {"message": sent["answer"]["id"], "run": sent["run_id"]}
        self.until(lambda: client.get(f"/v1/messages/{self.ids['message']}")["state"] == "completed")

    def _wait_for_the_feed(self) -> None:
        """Wait until audit, events, jobs and usage have heard of what was done."""
        heard = {"/v1/audit-entries": "audit_entries", "/v1/events": "events", "/v1/jobs": "jobs"}
        for path, kind in heard.items():
            self.until(lambda path=path, kind=kind: len(list(self.client.list(path, kind))) > 0)
        self.ids["job"] = str(next(self.client.list("/v1/jobs", "jobs"))["id"])
        self.until(lambda: self.ids["run"] in self.client.request("GET", "/v1/audit-entries?page_size=200").text)

    @staticmethod
    def until(holds: Any) -> None:
        until = time.monotonic() + BUSY_SECONDS
        while not holds():
            assert time.monotonic() < until, "the organization is busy in time"
            time.sleep(0.1)

    def all_lists(self) -> Iterator[tuple[str, httpx.Response]]:
        """Yield every page of every list that names no resource."""
        for operation in LISTS:
            yield from pages(self.client, operation.partition(" ")[2])


def pages(client: Client, path: str) -> Iterator[tuple[str, httpx.Response]]:
    """Yield the pages of a list, each with what was asked for."""
    token = ""
    while True:
        reply = client.request("GET", f"{path}{'&' if '?' in path else '?'}page_token={token}" if token else path)
        yield path, reply
        token = reply.json().get("next_page_token", "") if reply.status_code == 200 else ""
        if not token:
            return
