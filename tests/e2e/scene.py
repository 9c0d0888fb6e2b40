"""An organization with people of several roles and one of each resource, and a stranger in another organization."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from fleet.demo.client import JSON, Client
from fleet.launcher import Fleet

PASSWORD = "correct horse battery staple"
TEXT = "The lighthouse keeper keeps forty brass lamps in the northern store."
READY_SECONDS = 120
NARROW = ("kb.files.delete", "kb.folders.delete")
"""Two permissions; for each operation there is a key that has only the other one."""


@dataclass
class Person:
    """Somebody with a session."""

    email: str
    user_id: str
    organization_id: str
    client: Client


@dataclass
class Scene:
    """Callers by name, and the ids of the first organization's resources by kind."""

    fleet: Fleet
    anonymous: Client
    callers: dict[str, Client] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> Client:
        """The owner of the first organization, to whom its resources belong."""
        return self.callers["owner"]

    def build(self) -> "Scene":
        """Sign everybody up and make one of each resource."""
        owner = self._sign_up("owner")
        self._sign_up("stranger")
        for name, role in (("viewer", "viewer"), ("colleague", "developer"), ("extra", "viewer"), ("leaver", "viewer")):
            self._join(name, role)
        self.ids |= {"organization": owner.organization_id, "member": self.people["extra"].user_id}
        for kind in ("key", "knowledge_base", "folder", "file", "document", "failed_document", "tool", "agent"):
            self.ids[kind] = self.make(kind)
        self.ids["execution"] = str(
            self.owner.post(f"/v1/tools/{self._calculator()}:execute", {"arguments": {"expression": "1"}})["id"]
        )
        self.ids |= self._converse()
        self.ids["job"] = str(next(self.owner.list("/v1/jobs", "jobs"))["id"]) if self._has_jobs() else ""
        self._keys_and_tokens()
        return self

    def make(self, kind: str) -> str:
        """Make another resource of a kind in the first organization and return its id."""
        return str(getattr(self, f"_make_{kind}")())

    def another_session(self) -> Client:
        """Return a client with a new session of the owner."""
        return self._log_in(self.people["owner"].email)

    # -- people ------------------------------------------------------------------------------------------------------

    def _sign_up(self, name: str) -> Person:
        email = f"{name}-{uuid4().hex[:10]}@example.org"
        signed = self.anonymous.post(
            "/v1/auth/sign-up", {"email": email, "password": PASSWORD, "organization_name": name}
        )
        client = self._log_in(email)
        person = Person(email, str(signed["user"]["id"]), str(signed["organization_id"]), client)
        self.people[name], self.callers[name] = person, client
        return person

    def _log_in(self, email: str) -> Client:
        session = self.anonymous.post("/v1/auth/log-in", {"email": email, "password": PASSWORD})
        return self.anonymous.holding(str(session["access_token"]))

    def _join(self, name: str, role: str) -> None:
        """Sign somebody up and make them a member of the first organization, which their session switches to."""
        person = self._sign_up(name)
        self.owner.post("/v1/members", {"email": person.email, "role": role})
        organization = self.people["owner"].organization_id
        switched = person.client.post("/v1/auth/switch-organization", {"organization_id": organization})
        self.callers[name] = self.anonymous.holding(str(switched["access_token"]))

    def _keys_and_tokens(self) -> None:
        revoked = self._key({"display_name": "revoked", "scopes": ["*"]})
        self.callers["revoked"] = self.anonymous.holding(str(revoked["secret"]))
        self.callers["revoked"].get("/v1/users/me")
        self.owner.post(f"/v1/api-keys/{revoked['api_key']['id']}:revoke")
        for scope in NARROW:
            narrow = self._key({"display_name": scope, "scopes": [scope]})
            self.callers[scope] = self.anonymous.holding(str(narrow["secret"]))

    def _key(self, body: JSON) -> JSON:
        return self.owner.post("/v1/api-keys", body)

    # -- resources ---------------------------------------------------------------------------------------------------

    def _make_key(self) -> str:
        return str(self._key({"display_name": "key", "scopes": ["kb.*"]})["api_key"]["id"])

    def _make_session(self) -> str:
        return ""

    def _make_member(self) -> str:
        name = f"member-{uuid4().hex[:6]}"
        self._join(name, "viewer")
        return self.people[name].user_id

    def _make_knowledge_base(self) -> str:
        return str(self.owner.post("/v1/knowledge-bases", {"display_name": f"Base {uuid4().hex[:8]}"})["id"])

    def _make_folder(self) -> str:
        body = {"knowledge_base_id": self.ids["knowledge_base"], "display_name": f"Folder {uuid4().hex[:8]}"}
        return str(self.owner.post("/v1/folders", body)["id"])

    def _make_file(self) -> str:
        return str(self.owner.upload("/v1/files", name="a.txt", content_type="text/plain", content=TEXT.encode())["id"])

    def _make_document(self) -> str:
        path = f"/v1/knowledge-bases/{self.ids['knowledge_base']}/documents"
        return self._ended(str(self.owner.post(path, {"title": "Lamps", "text": TEXT})["id"]))

    def _make_failed_document(self) -> str:
        path = f"/v1/knowledge-bases/{self.ids['knowledge_base']}/documents:upload"
        broken = self.owner.upload(path, name="broken.pdf", content_type="application/pdf", content=b"%PDF-1.4 broken")
        return self._ended(str(broken["id"]))

    def _ended(self, document_id: str) -> str:
        self._wait(lambda: self.owner.get(f"/v1/documents/{document_id}")["state"] in ("ready", "failed"))
        return document_id

    def _make_tool(self) -> str:
        return str(self.owner.post("/v1/tools", self.a_tool())["id"])

    def a_tool(self) -> JSON:
        """Return the body of a tool with a name of its own."""
        # Port 9 discards: executing it ends at once with an address refused.
        return {
            "name": f"tool-{uuid4().hex[:8]}",
            "description": "Asks nobody.",
            "http": {"method": "GET", "url": "http://127.0.0.1:9/"},
        }

    def _calculator(self) -> str:
        return next(str(tool["id"]) for tool in self.owner.list("/v1/tools", "tools") if tool["name"] == "calculator")

    def _make_agent(self) -> str:
        definition = {"knowledge_base_ids": [self.ids["knowledge_base"]]}
        agent = self.owner.post("/v1/agents", {"display_name": f"Agent {uuid4().hex[:8]}", "definition": definition})
        self.owner.post(f"/v1/agents/{agent['id']}:publish")
        return str(agent["id"])

    def _make_conversation(self) -> str:
        return str(self.owner.post("/v1/conversations", {"agent_id": self.ids["agent"]})["id"])

    def _converse(self) -> dict[str, str]:
        conversation = self.make("conversation")
        sent = self.owner.post(f"/v1/conversations/{conversation}/messages", {"content": "How many brass lamps?"})
        path = f"/v1/messages/{sent['answer']['id']}"
        self._wait(lambda: self.owner.get(path)["state"] == "completed")
        return {"conversation": conversation, "message": str(sent["answer"]["id"]), "run": str(sent["run_id"])}

    def _has_jobs(self) -> bool:
        self._wait(lambda: any(True for _ in self.owner.list("/v1/jobs", "jobs")))
        return True

    def _wait(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + READY_SECONDS
        while not holds():
            assert time.monotonic() < until, "the scene is built in time"
            time.sleep(0.1)

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients():
            client.__exit__(None, None, None)

    def _clients(self) -> Iterator[Client]:
        yield from self.callers.values()
        yield from (person.client for person in self.people.values())
