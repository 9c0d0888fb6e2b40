"""Nobody gets more than they were given: not by keys, not by roles, not by having had more before."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest

from fleet.demo.client import JSON, Client, Refused
from tests.e2e.tenants import member, person

LOST_SECONDS = 5.0


@dataclass
class Staff:
    """A person of an organization."""

    client: Client
    user_id: str
    email: str


@pytest.fixture(scope="module")
def owner(anonymous: Client) -> Staff:
    """Who founded the organization that all others of this module join."""
    client, signed = person(anonymous, "owner", organization_name="Roles")
    return Staff(client, str(signed["user"]["id"]), str(signed["user"]["email"]))


@pytest.fixture(scope="module")
def join(anonymous: Client, owner: Staff) -> Callable[[str], Staff]:
    """Make somebody new a member in a role."""

    def joined(role: str) -> Staff:
        client, user = member(anonymous, owner.client, role)
        return Staff(client, str(user["id"]), str(user["email"]))

    return joined


@pytest.fixture(scope="module")
def staff(owner: Staff, join: Callable[[str], Staff]) -> dict[str, Staff]:
    """One person in each role."""
    return {"owner": owner, **{role: join(role) for role in ("admin", "developer", "member", "viewer")}}


def key_of(client: Client, **fields: object) -> Client:
    """Return a client with a new key of somebody's."""
    made = client.post("/v1/api-keys", {"display_name": "key", **fields})
    return client.holding(str(made["secret"]))


def refusal(reply: httpx.Response) -> tuple[int, str]:
    """Return status and reason of a problem."""
    return reply.status_code, str(reply.json().get("reason"))


class TestKeys:
    @pytest.mark.parametrize("role", ["member", "viewer"])
    def test_are_not_made_by_who_may_not(self, staff: dict[str, Staff], role: str) -> None:
        for body in ({"display_name": "x"}, {"display_name": "x", "scopes": ["*"]}):
            assert refusal(staff[role].client.request("POST", "/v1/api-keys", json=body)) == (403, "PERMISSION_DENIED")

    @pytest.mark.parametrize("scope", ["org.members.update", "org.audit.read", "org.usage.read"])
    def test_hold_no_name_that_their_maker_lacks(self, staff: dict[str, Staff], scope: str) -> None:
        body = {"display_name": "x", "scopes": [scope]}

        reply = staff["developer"].client.request("POST", "/v1/api-keys", json=body)

        assert refusal(reply) == (403, "SCOPE_NOT_HELD")

    @pytest.mark.parametrize("scopes", [["*"], ["org.*"], ["org.*.*"], ["*.members.*", "*.audit.*"], []])
    def test_reach_no_further_than_the_rank_of_their_maker(self, staff: dict[str, Staff], scopes: list[str]) -> None:
        client = key_of(staff["developer"].client, scopes=scopes)

        assert refusal(client.request("GET", "/v1/audit-entries")) == (403, "PERMISSION_DENIED")
        change = client.request("PATCH", f"/v1/members/{staff['viewer'].user_id}", json={"role": "admin"})
        assert refusal(change) == (403, "PERMISSION_DENIED")

    def test_make_no_wider_keys(self, staff: dict[str, Staff]) -> None:
        client = key_of(staff["owner"].client, scopes=["auth.api_keys.*", "kb.documents.read"])

        for scopes in (["*"], ["kb.*"], ["kb.documents.*"], ["kb.documents.delete"], ["org.members.update"]):
            reply = client.request("POST", "/v1/api-keys", json={"display_name": "x", "scopes": scopes})
            assert refusal(reply) == (403, "SCOPE_NOT_HELD"), scopes
        made = client.post("/v1/api-keys", {"display_name": "x"})
        assert set(made["api_key"]["scopes"]) <= {"auth.api_keys.*", "kb.documents.read"}

    def test_are_not_widened_by_themselves(self, staff: dict[str, Staff]) -> None:
        made = staff["owner"].client.post("/v1/api-keys", {"display_name": "x", "scopes": ["auth.api_keys.*"]})
        client = staff["owner"].client.holding(str(made["secret"]))

        reply = client.request("PATCH", f"/v1/api-keys/{made['api_key']['id']}", json={"scopes": ["*"]})

        assert refusal(reply) == (403, "SCOPE_NOT_HELD")

    @pytest.mark.parametrize("role", ["admin", "developer"])
    def test_of_an_owner_lend_nobody_an_owners_rank(self, staff: dict[str, Staff], role: str) -> None:
        """Somebody who was given an owner's narrow key may not make it a wide one."""
        made = staff["owner"].client.post("/v1/api-keys", {"display_name": "x", "scopes": ["kb.documents.read"]})
        path = f"/v1/api-keys/{made['api_key']['id']}"

        changes: list[JSON] = [{"scopes": ["*"]}, {"allowed_addresses": []}, {"expire_time": None}]
        for change in changes:
            assert refusal(staff[role].client.request("PATCH", path, json=change)) == (403, "API_KEY_OF_ANOTHER")
        given = staff["owner"].client.holding(str(made["secret"]))
        assert refusal(given.request("GET", "/v1/members")) == (403, "PERMISSION_DENIED")

    def test_do_not_open_sessions(self, staff: dict[str, Staff]) -> None:
        client = key_of(staff["owner"].client, scopes=["*"])
        organization = client.get("/v1/organization")["id"]

        for path, body in (
            ("/v1/auth/switch-organization", {"organization_id": organization}),
            ("/v1/organization:leave", {}),
        ):
            assert client.request("POST", path, json=body).status_code in (403, 409), path

    def test_are_refused_from_elsewhere(self, staff: dict[str, Staff]) -> None:
        client = key_of(staff["owner"].client, scopes=["*"], allowed_addresses=["203.0.113.0/24"])

        for headers in ({}, {"X-Forwarded-For": "203.0.113.7"}, {"X-Client-Address": "203.0.113.7"}):
            assert refusal(client.request("GET", "/v1/agents", headers=headers)) == (403, "ADDRESS_NOT_ALLOWED")

    def test_end_when_their_time_is_over(self, staff: dict[str, Staff]) -> None:
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
        client = key_of(staff["owner"].client, scopes=["*"], expire_time=soon)

        until_refused(client, "/v1/agents", {(401, "TOKEN_EXPIRED")}, seconds=15)


class TestRoles:
    @pytest.mark.parametrize(
        ("actor", "target", "role", "reason"),
        [
            ("admin", "owner", "viewer", "MEMBER_ABOVE_OWN_RANK"),
            ("admin", "developer", "owner", "ROLE_ABOVE_OWN_RANK"),
            ("admin", "admin", "owner", "ROLE_ABOVE_OWN_RANK"),
            ("developer", "viewer", "member", "PERMISSION_DENIED"),
            ("member", "member", "admin", "PERMISSION_DENIED"),
            ("viewer", "viewer", "owner", "PERMISSION_DENIED"),
        ],
    )
    def test_nobody_reaches_above_their_own(
        self, staff: dict[str, Staff], actor: str, target: str, role: str, reason: str
    ) -> None:
        reply = staff[actor].client.request("PATCH", f"/v1/members/{staff[target].user_id}", json={"role": role})

        assert refusal(reply) == (403, reason)

    def test_nobody_adds_or_removes_above_their_own(self, staff: dict[str, Staff]) -> None:
        admin = staff["admin"].client
        added = admin.request("POST", "/v1/members", json={"email": "boss@example.org", "role": "owner"})
        removed = admin.request("DELETE", f"/v1/members/{staff['owner'].user_id}")

        assert refusal(added) == (403, "ROLE_ABOVE_OWN_RANK")
        assert refusal(removed) == (403, "MEMBER_ABOVE_OWN_RANK")

    def test_the_last_owner_stays(self, staff: dict[str, Staff]) -> None:
        owner = staff["owner"]
        path = f"/v1/members/{owner.user_id}"

        for reply in (
            owner.client.request("PATCH", path, json={"role": "admin"}),
            owner.client.request("DELETE", path),
            owner.client.request("POST", "/v1/organization:leave", json={}),
        ):
            assert refusal(reply) == (409, "LAST_OWNER")

    def test_what_makes_a_member_cannot_be_smuggled_in(self, staff: dict[str, Staff]) -> None:
        """Fields that the service sets are refused, not read."""
        owner = staff["owner"].client
        attempts: list[tuple[str, str, JSON]] = [
            ("PATCH", f"/v1/members/{staff['viewer'].user_id}", {"role": "viewer", "rank": "owner"}),
            ("PATCH", f"/v1/members/{staff['viewer'].user_id}", {"role": "viewer", "user_id": staff["admin"].user_id}),
            ("PATCH", "/v1/users/me", {"display_name": "x", "id": staff["admin"].user_id}),
            ("PATCH", "/v1/users/me", {"display_name": "x", "email": staff["admin"].email}),
            ("POST", "/v1/knowledge-bases", {"display_name": "x", "organization_id": "org_x"}),
            ("POST", "/v1/conversations", {"model": "offline", "owner_id": staff["admin"].user_id}),
            ("POST", "/v1/conversations", {"model": "offline", "end_user": "alice"}),
            ("POST", "/v1/runs", {"input": "x", "owner_id": staff["admin"].user_id}),
            ("POST", "/v1/api-keys", {"display_name": "x", "creator_id": staff["admin"].user_id}),
        ]
        for verb, path, body in attempts:
            reply = owner.request(verb, path, json=body)
            assert refusal(reply) == (422, "VALIDATION_FAILED"), (path, body, reply.text)


class TestLoss:
    """What somebody may is looked up again: what they lost is gone in moments, with whatever they still hold."""

    def test_a_demotion_reaches_session_and_keys(self, staff: dict[str, Staff], join: Callable[[str], Staff]) -> None:
        builder = join("developer")
        clients = [builder.client, key_of(builder.client, scopes=["*"]), key_of(builder.client, scopes=["kb.*"])]
        for client in clients:
            assert client.request("GET", "/v1/knowledge-bases").status_code == 200
        staff["admin"].client.patch(f"/v1/members/{builder.user_id}", {"role": "viewer"})

        for client in clients:
            until_refused(client, "/v1/folders", {(403, "PERMISSION_DENIED")}, body={"display_name": "x"})
            assert client.request("GET", "/v1/knowledge-bases").status_code == 200

    def test_a_removal_reaches_session_and_keys(self, staff: dict[str, Staff], join: Callable[[str], Staff]) -> None:
        builder = join("developer")
        clients = [builder.client, key_of(builder.client, scopes=["*"])]
        for client in clients:
            assert client.request("GET", "/v1/knowledge-bases").status_code == 200
        staff["admin"].client.delete(f"/v1/members/{builder.user_id}")

        for client in clients:
            gone = {(401, "CREDENTIAL_REVOKED"), (401, "UNAUTHENTICATED")}
            until_refused(client, "/v1/knowledge-bases", gone)

    def test_a_log_out_ends_the_session(self, anonymous: Client) -> None:
        client, _ = person(anonymous, "leaver", organization_name="Left")
        assert client.request("GET", "/v1/users/me").status_code == 200
        client.request("POST", "/v1/auth/log-out", json={})

        until_refused(client, "/v1/users/me", {(401, "CREDENTIAL_REVOKED"), (401, "UNAUTHENTICATED")})


def until_refused(
    client: Client, path: str, wanted: set[tuple[int, str]], *, body: JSON | None = None, seconds: float = LOST_SECONDS
) -> None:
    """Ask until the answer is one of those that are wanted; fail when it takes too long."""
    until = time.monotonic() + seconds
    while (said := refusal(client.request("POST" if body else "GET", path, json=body))) not in wanted:
        assert time.monotonic() < until, f"{path} still answers {said}"
        time.sleep(0.1)


def test_a_password_is_not_guessed_for_long(anonymous: Client) -> None:
    """Wrong passwords of an address that exists answer as those of one that doesn't."""
    _, signed = person(anonymous, "guessed", organization_name="Guessed")
    told = []
    for email in (signed["user"]["email"], "nobody-at-all@example.org"):
        with pytest.raises(Refused) as refused:
            anonymous.post("/v1/auth/log-in", {"email": email, "password": "wrong horse battery"})
        told.append((refused.value.status, refused.value.reason, refused.value.problem["detail"]))

    assert told[0] == told[1]
