import asyncio
import time
from typing import Any

import httpx
import pytest

from chassis.errors import CredentialMissing
from chassis.rpc.caller import Caller
from chassis.testing.authority import Authority

from ..conftest import Front  # noqa: TID252  # tests are installed nowhere
from ..library import until  # noqa: TID252


class Counted:
    """Counts what the authority is asked."""

    def __init__(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        original = authority.authenticate

        def authenticate(credential: str) -> Caller:
            self.count += 1
            return original(credential)

        monkeypatch.setattr(authority, "authenticate", authenticate)


@pytest.fixture
def exchanges(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """How often auth was asked."""
    return Counted(authority, monkeypatch)


class TestCredentials:
    async def test_are_asked_for(self, front: Front) -> None:
        async with front.client() as client:
            reply = await client.get("/v1/books")

        assert (reply.status_code, reply.json()["reason"]) == (401, "UNAUTHENTICATED")
        assert reply.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        "headers",
        [
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic d3Jvbmc6d3Jvbmc="},
            {"Authorization": "Bearer"},
            {"Authorization": b"Bearer \xff\xfe"},
            {"Authorization": "Bearer " + "x" * 5000},
            {"X-API-Key": "wrong"},
        ],
    )
    async def test_are_refused_when_unknown(self, front: Front, headers: dict[str, Any]) -> None:
        async with front.client() as client:
            reply = await client.get("/v1/books", headers=headers)

        assert reply.status_code == 401

    async def test_may_be_an_api_key_header(self, front: Front, owner: Caller) -> None:
        async with front.client() as client:
            headers = {"X-API-Key": front.authority.credential(owner)}
            reply = await client.get("/v1/books", headers=headers)

        assert reply.status_code == 200

    async def test_are_exchanged_once(
        self, front: Front, client: httpx.AsyncClient, exchanges: Counted, owner: Caller
    ) -> None:
        for _ in range(5):
            assert (await client.get("/v1/books")).status_code == 200

        assert exchanges.count == 1
        assert front.library.metadata["authorization"].startswith("Bearer ey")

    async def test_of_many_at_once_are_exchanged_once(self, front: Front, owner: Caller, exchanges: Counted) -> None:
        credential = front.authority.credential(owner)
        authenticator = front.parts.authenticator
        callers = await asyncio.gather(*(authenticator.authenticate(credential, "127.0.0.1") for _ in range(20)))

        assert exchanges.count == 1
        assert len({caller.token for caller in callers}) == 1

    async def test_are_not_needed_for_public_operations(self, front: Front) -> None:
        async with front.client() as client:
            reply = await client.get("/v1/books:call", headers={"Authorization": "Bearer expired"})

        assert reply.status_code == 200
        assert "authorization" not in reply.json()["metadata"]

    async def test_are_503_while_auth_is_down(self, fronts: Any, owner: Caller) -> None:
        async with fronts() as front, front.client(owner) as client:
            front.parts.peers.channels._peers["auth"] = "127.0.0.1:1"
            front.parts.peers.channels._channels.clear()
            reply = await client.get("/v1/books")

        assert (reply.status_code, reply.json()["metadata"]) == (503, {"dependency": "auth"})


class TestLifetimes:
    async def test_renews_in_the_background_before_the_end(
        self, front: Front, owner: Caller, exchanges: Counted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authenticator, credential = front.parts.authenticator, front.authority.credential(owner)
        first = await authenticator.authenticate(credential, "")
        ahead = 0.0
        monkeypatch.setattr(authenticator, "_clock", lambda: time.time() + ahead)

        ahead = 39.0
        assert await authenticator.authenticate(credential, "") is first
        assert exchanges.count == 1
        ahead = 45.0
        assert await authenticator.authenticate(credential, "") is first
        await until(lambda: exchanges.count == 2)
        ahead = 0.0
        await until(lambda: not authenticator._exchanges)
        assert (await authenticator.authenticate(credential, "")).token != first.token

    async def test_waits_for_a_new_token_near_the_end(
        self, front: Front, owner: Caller, exchanges: Counted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authenticator, credential = front.parts.authenticator, front.authority.credential(owner)
        first = await authenticator.authenticate(credential, "")
        monkeypatch.setattr(authenticator, "_clock", lambda: time.time() + 51)
        second = await authenticator.authenticate(credential, "")

        assert second.token != first.token
        assert exchanges.count == 2

    async def test_forgets_what_is_revoked(self, front: Front, owner: Caller) -> None:
        async with front.client(owner) as client:
            assert (await client.get("/v1/books")).status_code == 200
            await until(lambda: front.parts.authenticator.watch.is_connected)
            await front.authority.revoke(owner)
            revoked_at = time.monotonic()
            while (await client.get("/v1/books")).status_code == 200:
                assert time.monotonic() - revoked_at < 1
            reply = await client.get("/v1/books")

        assert reply.status_code == 401
        assert not front.parts.authenticator._known

    async def test_keeps_others_when_one_is_revoked(self, front: Front, owner: Caller, stranger: Caller) -> None:
        authenticator = front.parts.authenticator
        await authenticator.authenticate(front.authority.credential(owner), "")
        kept = await authenticator.authenticate(front.authority.credential(stranger), "")
        await until(lambda: authenticator.watch.is_connected)
        await front.authority.revoke(owner)

        await until(lambda: len(authenticator._known) == 1)
        assert next(iter(authenticator._known.values())).subject == kept.subject

    async def test_refuses_a_credential_that_auth_no_longer_knows(self, front: Front, owner: Caller) -> None:
        credential = front.authority.credential(owner)
        authenticator = front.parts.authenticator
        await authenticator.authenticate(credential, "")
        authenticator._known.clear()
        front.authority._credentials.pop(credential)

        with pytest.raises(Exception) as refused:
            await authenticator.authenticate(credential, "")
        assert refused.value.reason == CredentialMissing.reason  # type: ignore[attr-defined]


class TestRateLimits:
    async def test_refuses_beyond_the_limit(self, fronts: Any, owner: Caller, stranger: Caller) -> None:
        async with fronts(limits={"requests_per_minute": 3}) as front:
            async with front.client(owner) as client:
                replies = [await client.get("/v1/books") for _ in range(4)]
            async with front.client(stranger) as client:
                other = await client.get("/v1/books")

        assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
        assert [reply.headers["ratelimit-remaining"] for reply in replies] == ["2", "1", "0", "0"]
        assert replies[3].json()["reason"] == "RATE_LIMITED"
        assert 1 <= int(replies[3].headers["retry-after"]) <= 20
        assert other.status_code == 200

    async def test_limits_public_operations_by_address(self, fronts: Any) -> None:
        async with fronts(limits={"public_requests_per_minute": 1}) as front, front.client() as client:
            replies = [await client.get("/v1/books:call") for _ in range(2)]

        assert [reply.status_code for reply in replies] == [200, 429]

    async def test_refuses_more_than_can_be_in_flight(self, fronts: Any, owner: Caller) -> None:
        few = {"limits": {"in_flight": 1}, "deadlines": {"unary_seconds": 1}}
        async with fronts(**few) as front, front.client(owner) as client:
            slow = asyncio.create_task(client.get("/v1/books/book_slow"))
            await asyncio.sleep(0.2)
            refused = await client.get("/v1/books")
            alive = await client.get("/healthz")
            await slow
            after = await client.get("/v1/books")

        assert (refused.status_code, refused.json()["reason"]) == (503, "TOO_MANY_IN_FLIGHT")
        assert alive.status_code == 200
        assert after.status_code == 200
