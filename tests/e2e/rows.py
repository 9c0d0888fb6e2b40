"""One row an operation of the public API: how to call it so that it succeeds. The matrix multiplies them by callers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]
Ids = Mapping[str, str]

TEXT = {"title": "Note", "text": "The lighthouse keeper keeps forty brass lamps."}
SCHEMA = {"type": "object", "properties": {"expression": {"type": "string"}}}


@dataclass(frozen=True)
class Row:
    """A call. `{kind}` in `path` and `body(ids)` take ids of resources; `fresh` names a kind that the call uses up,
    `by` who may make it.

    `owned` resources belong to one person: a colleague with the same permissions does not find them.
    """

    path: str
    body: Callable[[Ids], JSON] | None = None
    file: bool = False
    status: int = 200
    owned: bool = False
    fresh: str = ""
    by: str = "owner"

    def names_ids(self) -> bool:
        """Tell whether the call names a resource, so that a stranger's attempt must look like an unknown id."""
        return "{" in self.path or self.names_ids_in_body()

    def names_ids_in_body(self) -> bool:
        """Tell whether the body names a resource."""
        if self.body is None:
            return False
        named: list[str] = []

        class Spy(dict[str, str]):
            def __missing__(self, kind: str) -> str:
                named.append(kind)
                return kind

        self.body(Spy())
        return bool(named)


def normalized(path: str) -> str:
    """Return a path with its parameters left blank, as the names of rows have it."""
    return re.sub(r"{[^}]*}", "{}", path)


def just(body: JSON) -> Callable[[Ids], JSON]:
    """Return a body without ids."""
    return lambda _: body


ROWS: dict[str, Row] = {
    # auth
    "POST /v1/auth/sign-up": Row(
        "/v1/auth/sign-up",
        lambda ids: {"email": "new@example.org", "password": "correct horse battery", "organization_name": "New"},
    ),
    "POST /v1/auth/log-in": Row("/v1/auth/log-in", just({})),
    "POST /v1/auth/refresh": Row("/v1/auth/refresh", just({})),
    "POST /v1/auth/log-out": Row("/v1/auth/log-out", just({}), status=204, fresh="session"),
    "POST /v1/auth/log-out-everywhere": Row("/v1/auth/log-out-everywhere", just({}), fresh="session"),
    "POST /v1/auth/switch-organization": Row(
        "/v1/auth/switch-organization", lambda ids: {"organization_id": ids["organization"]}, fresh="session"
    ),
    "GET /.well-known/jwks.json": Row("/.well-known/jwks.json"),
    "GET /v1/users/me": Row("/v1/users/me"),
    "PATCH /v1/users/me": Row("/v1/users/me", just({"display_name": "Ada"})),
    "POST /v1/api-keys": Row("/v1/api-keys", just({"display_name": "key", "scopes": ["kb.*"]}), status=201),
    "GET /v1/api-keys": Row("/v1/api-keys"),
    "GET /v1/api-keys/{}": Row("/v1/api-keys/{key}"),
    "PATCH /v1/api-keys/{}": Row("/v1/api-keys/{key}", just({"display_name": "renamed"})),
    "POST /v1/api-keys/{}:revoke": Row("/v1/api-keys/{key}:revoke", just({}), fresh="key"),
    # org
    "POST /v1/organizations": Row("/v1/organizations", just({"display_name": "Another"}), status=201),
    "GET /v1/organizations": Row("/v1/organizations"),
    "GET /v1/organization": Row("/v1/organization"),
    "PATCH /v1/organization": Row("/v1/organization", just({"display_name": "Renamed"})),
    "POST /v1/organization:leave": Row("/v1/organization:leave", just({}), status=204, by="leaver"),
    "POST /v1/members": Row("/v1/members", just({"email": "colleague@example.org", "role": "viewer"}), status=201),
    "GET /v1/members": Row("/v1/members"),
    "GET /v1/members/{}": Row("/v1/members/{member}"),
    "PATCH /v1/members/{}": Row("/v1/members/{member}", just({"role": "member"})),
    "DELETE /v1/members/{}": Row("/v1/members/{member}", status=204, fresh="member"),
    "GET /v1/roles": Row("/v1/roles"),
    "GET /v1/permissions": Row("/v1/permissions"),
    "GET /v1/audit-entries": Row("/v1/audit-entries"),
    "GET /v1/events": Row("/v1/events"),
    "GET /v1/usage": Row("/v1/usage"),
    "GET /v1/jobs": Row("/v1/jobs"),
    "GET /v1/jobs/{}": Row("/v1/jobs/{job}"),
    "POST /v1/jobs/{}:cancel": Row("/v1/jobs/{job}:cancel", just({}), status=409),
    # kb
    "POST /v1/knowledge-bases": Row("/v1/knowledge-bases", just({"display_name": "Base"}), status=201),
    "GET /v1/knowledge-bases": Row("/v1/knowledge-bases"),
    "GET /v1/knowledge-bases/{}": Row("/v1/knowledge-bases/{knowledge_base}"),
    "PATCH /v1/knowledge-bases/{}": Row("/v1/knowledge-bases/{knowledge_base}", just({"description": "Lamps"})),
    "DELETE /v1/knowledge-bases/{}": Row("/v1/knowledge-bases/{knowledge_base}", status=204, fresh="knowledge_base"),
    "POST /v1/knowledge-bases:search": Row(
        "/v1/knowledge-bases:search",
        lambda ids: {"knowledge_base_ids": [ids["knowledge_base"]], "query": "brass lamps"},
    ),
    "POST /v1/folders": Row(
        "/v1/folders",
        lambda ids: {"knowledge_base_id": ids["knowledge_base"], "display_name": "Folder"},
        status=201,
    ),
    "GET /v1/folders": Row("/v1/folders?knowledge_base_id={knowledge_base}"),
    "GET /v1/folders/{}": Row("/v1/folders/{folder}"),
    "PATCH /v1/folders/{}": Row("/v1/folders/{folder}", just({"display_name": "Renamed"})),
    "POST /v1/folders/{}:move": Row("/v1/folders/{folder}:move", just({"parent_id": ""})),
    "DELETE /v1/folders/{}": Row("/v1/folders/{folder}", status=204, fresh="folder"),
    "POST /v1/files": Row("/v1/files", file=True, status=201),
    "GET /v1/files": Row("/v1/files"),
    "GET /v1/files/{}": Row("/v1/files/{file}"),
    "GET /v1/files/{}:download": Row("/v1/files/{file}:download"),
    "DELETE /v1/files/{}": Row("/v1/files/{file}", status=204, fresh="file"),
    "POST /v1/knowledge-bases/{}/documents": Row(
        "/v1/knowledge-bases/{knowledge_base}/documents", just(TEXT), status=201
    ),
    "POST /v1/knowledge-bases/{}/documents:upload": Row(
        "/v1/knowledge-bases/{knowledge_base}/documents:upload", file=True, status=201
    ),
    "GET /v1/knowledge-bases/{}/documents": Row("/v1/knowledge-bases/{knowledge_base}/documents"),
    "GET /v1/documents/{}": Row("/v1/documents/{document}"),
    "PATCH /v1/documents/{}": Row("/v1/documents/{document}", just({"title": "Renamed"})),
    "DELETE /v1/documents/{}": Row("/v1/documents/{document}", status=204, fresh="document"),
    "POST /v1/documents/{}:retry": Row("/v1/documents/{failed_document}:retry", just({})),
    "GET /v1/documents/{}:download": Row("/v1/documents/{document}:download"),
    "GET /v1/documents/{}/text": Row("/v1/documents/{document}/text"),
    # tool
    "POST /v1/tools": Row(
        "/v1/tools",
        just(
            {
                "name": "weather",
                "description": "Tells the weather.",
                "http": {"method": "GET", "url": "https://example.org/"},
            }
        ),
        status=201,
    ),
    "GET /v1/tools": Row("/v1/tools"),
    "GET /v1/tools/{}": Row("/v1/tools/{tool}"),
    "PATCH /v1/tools/{}": Row("/v1/tools/{tool}", just({"description": "Tells more."})),
    "DELETE /v1/tools/{}": Row("/v1/tools/{tool}", status=204, fresh="tool"),
    "POST /v1/tools/{}:execute": Row("/v1/tools/{tool}:execute", just({"arguments": {}})),
    "GET /v1/tool-executions": Row("/v1/tool-executions"),
    "GET /v1/tool-executions/{}": Row("/v1/tool-executions/{execution}"),
    # agent
    "GET /v1/models": Row("/v1/models"),
    "POST /v1/agents": Row("/v1/agents", just({"display_name": "Agent", "definition": {}}), status=201),
    "GET /v1/agents": Row("/v1/agents"),
    "GET /v1/agents/{}": Row("/v1/agents/{agent}"),
    "PATCH /v1/agents/{}": Row("/v1/agents/{agent}", just({"description": "Answers."})),
    "DELETE /v1/agents/{}": Row("/v1/agents/{agent}", status=204, fresh="agent"),
    "POST /v1/agents/{}:publish": Row("/v1/agents/{agent}:publish", just({}), status=201),
    "GET /v1/agents/{}/versions": Row("/v1/agents/{agent}/versions"),
    "GET /v1/agents/{}/versions/{}": Row("/v1/agents/{agent}/versions/1"),
    "POST /v1/runs": Row("/v1/runs", lambda ids: {"agent_id": ids["agent"], "input": "Hello?"}, status=202),
    "GET /v1/runs": Row("/v1/runs"),
    "GET /v1/runs/{}": Row("/v1/runs/{run}", owned=True),
    "GET /v1/runs/{}/steps": Row("/v1/runs/{run}/steps", owned=True),
    "GET /v1/runs/{}/events": Row("/v1/runs/{run}/events", owned=True),
    "POST /v1/runs/{}:cancel": Row("/v1/runs/{run}:cancel", just({}), owned=True),
    "POST /v1/runs/{}:resolve": Row(
        "/v1/runs/{run}:resolve", just({"call_id": "none", "decision": "approve"}), owned=True, status=409
    ),
    # conversation
    "POST /v1/conversations": Row("/v1/conversations", just({"model": "offline"}), status=201),
    "GET /v1/conversations": Row("/v1/conversations"),
    "GET /v1/conversations/{}": Row("/v1/conversations/{conversation}", owned=True),
    "PATCH /v1/conversations/{}": Row("/v1/conversations/{conversation}", just({"title": "Renamed"}), owned=True),
    "DELETE /v1/conversations/{}": Row(
        "/v1/conversations/{conversation}", status=204, owned=True, fresh="conversation"
    ),
    "POST /v1/conversations/{}/messages": Row(
        "/v1/conversations/{conversation}/messages",
        just({"content": "Hello?"}),
        status=201,
        owned=True,
        fresh="conversation",
    ),
    "GET /v1/conversations/{}/messages": Row("/v1/conversations/{conversation}/messages", owned=True),
    "GET /v1/messages/{}": Row("/v1/messages/{message}", owned=True),
    "POST /v1/messages/{}:stop": Row("/v1/messages/{message}:stop", just({}), owned=True, status=409),
}
