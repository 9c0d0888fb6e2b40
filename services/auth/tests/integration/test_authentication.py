"""Credentials into context tokens, delegation, keys and revocations, as the fleet sees them."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from auth_testing import AuthUnderTest, Person, Standing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.timestamp_pb2 import Timestamp
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey
from sqlalchemy import text

from auth.domain import api_keys
from chassis.ids import API_KEY, ORGANIZATION, USER, new_id
from chassis.rpc.caller import Caller
from chassis.rpc.tokens import ContextTokenVerifier, ProcessAssertion, StaticFleetKeys
from chassis.testing import eventually, refused
from definable.auth.v1.api_key_service_pb2 import (
    ApiKey,
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    GetApiKeyRequest,
    RevokeApiKeyRequest,
)
from definable.auth.v1.authentication_service_pb2 import (
    AuthenticateRequest,
    ListFleetKeysRequest,
    MintServiceContextRequest,
)
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceStub
from definable.auth.v1.key_set_service_pb2 import GetJsonWebKeySetRequest
from definable.auth.v1.key_set_service_pb2_grpc import KeySetServiceStub
from definable.options.v1.options_pb2 import Rank


async def read(auth: AuthUnderTest, token: str) -> Caller:
    """Verify a context token as any service does: with the keys auth lists."""
    listed = await auth.authentication("kb").ListFleetKeys(ListFleetKeysRequest())
    keys = {key.kid: Ed25519PublicKey.from_public_bytes(key.public_key) for key in listed.keys}
    return await ContextTokenVerifier(StaticFleetKeys(keys)).verify(token)


async def a_key(auth: AuthUnderTest, person: Person, **fields: Any) -> CreateApiKeyResponse:
    caller = await auth.caller(person.tokens.access_token)
    key = ApiKey(display_name="A key", **fields)
    return await auth.api_keys(caller).CreateApiKey(CreateApiKeyRequest(api_key=key))


class TestAuthenticateSession:
    async def test_says_who_where_and_what(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        caller = await read(auth, await auth.authenticate(person.tokens.access_token))
        assert (caller.subject, caller.kind) == (USER.show(person.user_id), "user")
        assert (caller.principal_id, caller.organization_id) == (person.user_id, person.organization_id)
        assert (caller.rank, caller.grants, caller.service) == (Rank.OWNER, ("*",), None)
        assert caller.credential_id.startswith("sess_")
        assert caller.expire_time - datetime.now(UTC) <= timedelta(seconds=60)

    @pytest.mark.parametrize("credential", ["x", "a.b.c", "..", "é.é.é", "eyJhbGciOiJub25lIn0.e30.", "x" * 4096])
    async def test_refuses_what_is_no_token(self, auth: AuthUnderTest, credential: str) -> None:
        with refused("CREDENTIAL_INVALID"):
            await auth.authenticate(credential)

    async def test_refuses_an_empty_credential(self, auth: AuthUnderTest) -> None:
        with refused("VALIDATION_FAILED"):
            await auth.authenticate("")

    async def test_refuses_a_token_somebody_else_signed(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        kid = (await auth.service.stub(KeySetServiceStub, None).GetJsonWebKeySet(GetJsonWebKeySetRequest())).keys[0].kid
        stranger = OKPKey.import_key(Ed25519PrivateKey.generate())
        claims = {"sub": USER.show(person.user_id), "iss": "http://127.0.0.1:8000", "aud": "definable"}
        forged = jwt.encode({"alg": "EdDSA", "typ": "at+jwt", "kid": kid}, claims, stranger, algorithms=["EdDSA"])
        with refused("CREDENTIAL_INVALID"):
            await auth.authenticate(forged)

    async def test_refuses_a_context_token_in_place_of_an_access_token(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        with refused("CREDENTIAL_INVALID"):
            await auth.authenticate(await auth.authenticate(person.tokens.access_token))

    async def test_refuses_whoever_left(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        del auth.org.members[person.organization_id, person.user_id]
        with refused("CREDENTIAL_REVOKED"):
            await auth.authenticate(person.tokens.access_token)

    async def test_refuses_more_grants_than_a_token_carries(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        grants = tuple(f"kb.resource_number_{number}.read" for number in range(150))
        auth.org.add(person.organization_id, person.user_id, Standing(grants=grants))
        with refused("SCOPES_TOO_LONG"):
            await auth.authenticate(person.tokens.access_token)

    async def test_is_for_the_gateway_alone(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        request = AuthenticateRequest(credential=person.tokens.access_token)
        with refused("INTERNAL_ONLY"):
            await auth.authentication("kb").Authenticate(request)
        with refused("INTERNAL_ONLY"):
            caller = await auth.caller(person.tokens.access_token)
            await auth.service.stub(AuthenticationServiceStub, caller).Authenticate(request)
        with refused("UNAUTHENTICATED"):
            await auth.service.stub(AuthenticationServiceStub, None).Authenticate(request)


class TestAuthenticateWhileOrgIsDown:
    async def test_uses_the_last_answer(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        await auth.authenticate(person.tokens.access_token)
        auth.org.is_down = True
        try:
            caller = await read(auth, await auth.authenticate(person.tokens.access_token))
        finally:
            auth.org.is_down = False
        assert (caller.rank, caller.grants) == (Rank.OWNER, ("*",))

    async def test_trusts_no_answer_older_than_ten_minutes(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        await auth.authenticate(person.tokens.access_token)
        async with auth.owner_connection() as connection:
            await connection.execute(
                text("UPDATE auth.membership_answers SET answer_time = answer_time - interval '601 seconds'")
            )
        auth.org.is_down = True
        try:
            with refused("DEPENDENCY_UNAVAILABLE"):
                await auth.authenticate(person.tokens.access_token)
        finally:
            auth.org.is_down = False

    async def test_knows_nothing_of_whom_it_never_asked(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        auth.org.is_down = True
        try:
            with refused("DEPENDENCY_UNAVAILABLE"):
                await auth.authenticate(person.tokens.access_token)
        finally:
            auth.org.is_down = False


class TestAuthenticateKey:
    async def test_says_what_the_key_is(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        created = await a_key(
            auth,
            person,
            scopes=["kb.*", "org.members.read"],
            requests_per_minute=9,
            end_user="customer-7",
            allowed_addresses=["198.51.100.0/24"],
        )
        caller = await read(auth, await auth.authenticate(created.secret))
        assert (caller.subject, caller.kind, caller.credential_id) == (
            created.api_key.id,
            "api_key",
            created.api_key.id,
        )
        assert (caller.principal_id, caller.end_user) == (person.user_id, "customer-7")
        assert (caller.requests_per_minute, caller.allowed_addresses) == (9, ("198.51.100.0/24",))
        assert "kb.*" in caller.grants

    async def test_has_the_default_limit_without_one(self, auth: AuthUnderTest) -> None:
        created = await a_key(auth, await auth.sign_up())
        assert (await read(auth, await auth.authenticate(created.secret))).requests_per_minute == 600

    async def test_follows_its_creators_rights(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        created = await a_key(auth, person, scopes=["kb.*", "auth.api_keys.create"])
        auth.org.add(person.organization_id, person.user_id, Standing(rank=Rank.VIEWER, revision=2))
        caller = await read(auth, await auth.authenticate(created.secret))
        assert caller.rank == Rank.VIEWER
        assert not caller.may("auth.api_keys.create", Rank.DEVELOPER)
        del auth.org.members[person.organization_id, person.user_id]
        with refused("CREDENTIAL_REVOKED"):
            await auth.authenticate(created.secret)

    async def test_refuses_a_typo_without_a_query(self, auth: AuthUnderTest) -> None:
        created = await a_key(auth, await auth.sign_up())
        for typo in (
            created.secret[:-1] + ("A" if created.secret[-1] != "A" else "B"),
            created.secret[:-1],
            "dfk_live_",
        ):
            with refused("CREDENTIAL_INVALID"):
                await auth.authenticate(typo)

    async def test_refuses_a_well_formed_key_nobody_made(self, auth: AuthUnderTest) -> None:
        with refused("CREDENTIAL_INVALID"):
            await auth.authenticate(api_keys.mint(bytes(41)).show())

    async def test_refuses_other_addresses(self, auth: AuthUnderTest) -> None:
        created = await a_key(auth, await auth.sign_up(), allowed_addresses=["192.0.2.0/24"])
        assert await auth.authenticate(created.secret, address="192.0.2.9")
        for address in ("192.0.3.9", ""):
            with refused("ADDRESS_NOT_ALLOWED"):
                await auth.authenticate(created.secret, address=address)

    async def test_no_token_outlives_its_key(self, auth: AuthUnderTest) -> None:
        end = datetime.now(UTC) + timedelta(seconds=20)
        stamp = Timestamp()
        stamp.FromDatetime(end)
        key = await a_key(auth, await auth.sign_up(), expire_time=stamp)
        caller = await read(auth, await auth.authenticate(key.secret))
        assert abs(caller.expire_time - end) < timedelta(seconds=0.01)

    async def test_refuses_an_expired_key(self, auth: AuthUnderTest) -> None:
        created = await a_key(auth, await auth.sign_up())
        async with auth.owner_connection() as connection:
            await connection.execute(
                text("UPDATE auth.api_keys SET expire_time = now() WHERE id = :id"),
                {"id": API_KEY.parse(created.api_key.id)},
            )
        with refused("TOKEN_EXPIRED"):
            await auth.authenticate(created.secret)

    async def test_shows_when_it_was_last_used(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        created = await a_key(auth, person)
        await auth.authenticate(created.secret)
        stub = auth.api_keys(await auth.caller(person.tokens.access_token))

        async def used() -> ApiKey | None:
            key = await stub.GetApiKey(GetApiKeyRequest(id=created.api_key.id))
            return key if key.HasField("last_used_time") else None

        key = await eventually(used, every=0.2)
        assert key is not None
        assert key.etag == created.api_key.etag


class TestMintServiceContext:
    async def test_acts_for_a_user_with_their_rights(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        token = await auth.mint(
            "agent", organization_id=person.organization_id, actor=USER.show(person.user_id), end_user="c"
        )
        caller = await read(auth, token)
        assert (caller.subject, caller.service, caller.rank) == (USER.show(person.user_id), "agent", Rank.OWNER)
        assert caller.end_user == "c"

    async def test_acts_for_a_key_within_its_scopes(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        key = (await a_key(auth, person, scopes=["kb.*"], end_user="mine")).api_key
        token = await auth.mint("conversation", organization_id=person.organization_id, actor=key.id, end_user="other")
        caller = await read(auth, token)
        assert (caller.grants, caller.end_user, caller.kind) == (("kb.*",), "mine", "api_key")

    async def test_acts_as_itself_with_no_rights_of_people(self, auth: AuthUnderTest) -> None:
        organization_id = new_id()
        caller = await read(auth, await auth.mint("kb", organization_id=organization_id))
        assert (caller.subject, caller.service, caller.kind) == ("service:kb", "kb", "service")
        assert (caller.organization_id, caller.principal_id, caller.grants) == (organization_id, None, ())
        assert (await read(auth, await auth.mint("kb", organization_id=None))).organization_id is None

    @pytest.mark.parametrize("process", ["kb", "org", "tool", "gateway"])
    async def test_refuses_who_may_not_act_for_people(self, auth: AuthUnderTest, process: str) -> None:
        person = await auth.sign_up()
        with refused("DELEGATION_NOT_ALLOWED"):
            await auth.mint(process, organization_id=person.organization_id, actor=USER.show(person.user_id))

    async def test_refuses_the_gateway_a_token_of_its_own(self, auth: AuthUnderTest) -> None:
        with refused("DELEGATION_NOT_ALLOWED"):
            await auth.mint("gateway", organization_id=new_id())

    async def test_refuses_actors_who_lost_their_rights(self, auth: AuthUnderTest) -> None:
        person, stranger = await auth.sign_up(), await auth.sign_up()
        key = (await a_key(auth, person)).api_key
        caller = await auth.caller(person.tokens.access_token)
        await auth.api_keys(caller).RevokeApiKey(RevokeApiKeyRequest(id=key.id))
        for actor in (USER.show(stranger.user_id), key.id, API_KEY.show(new_id())):
            with refused("ACTOR_RIGHTS_LOST"):
                await auth.mint("agent", organization_id=person.organization_id, actor=actor)

    async def test_gives_no_birth_to_a_minted_token(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        token = await auth.mint("agent", organization_id=person.organization_id, actor=USER.show(person.user_id))
        stub = auth.service.stub(AuthenticationServiceStub, Caller(subject="x", kind="service", token=token))
        with refused("DELEGATION_NOT_ALLOWED"):
            await stub.MintServiceContext(
                MintServiceContextRequest(organization_id=ORGANIZATION.show(person.organization_id))
            )

    async def test_refuses_bad_input(self, auth: AuthUnderTest) -> None:
        for organization, actor in (("user_x", ""), ("", USER.show(new_id())), (ORGANIZATION.show(new_id()), "role_x")):
            with refused("INVALID_ID"):
                await auth.authentication("agent").MintServiceContext(
                    MintServiceContextRequest(organization_id=organization, actor_subject=actor)
                )


class TestProcessAssertions:
    async def test_are_accepted_once(self, auth: AuthUnderTest) -> None:
        stub = auth.authentication("kb")
        await stub.ListFleetKeys(ListFleetKeysRequest())
        with refused("UNAUTHENTICATED"):
            await stub.ListFleetKeys(ListFleetKeysRequest())

    async def test_need_a_trusted_key(self, auth: AuthUnderTest) -> None:
        forged = ProcessAssertion.make("kb", Ed25519PrivateKey.generate())
        stub = auth.service.stub(AuthenticationServiceStub, Caller(subject="x", kind="service", token=forged))
        with refused("UNAUTHENTICATED"):
            await stub.ListFleetKeys(ListFleetKeysRequest())

    async def test_end_after_thirty_seconds(self, auth: AuthUnderTest) -> None:
        old = ProcessAssertion.make("kb", auth.process_keys["kb"], now=datetime.now(UTC) - timedelta(seconds=40))
        stub = auth.service.stub(AuthenticationServiceStub, Caller(subject="x", kind="service", token=old))
        with refused("TOKEN_EXPIRED"):
            await stub.ListFleetKeys(ListFleetKeysRequest())

    async def test_a_second_key_works_beside_the_first(self, auth: AuthUnderTest) -> None:
        first = auth.process_keys["tool"]
        auth.trust_process("tool", suffix=".next")
        await asyncio.sleep(1.1)
        await auth.authentication("tool").ListFleetKeys(ListFleetKeysRequest())
        auth.process_keys["tool"] = first
        await auth.authentication("tool").ListFleetKeys(ListFleetKeysRequest())


class TestKeySets:
    async def test_the_public_set_verifies_access_tokens(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        published = await auth.service.stub(KeySetServiceStub, None).GetJsonWebKeySet(GetJsonWebKeySetRequest())
        keys = KeySet.import_key_set(
            {"keys": [{"kty": key.kty, "crv": key.crv, "x": key.x, "kid": key.kid} for key in published.keys]}
        )
        token = jwt.decode(person.tokens.access_token, keys, algorithms=["EdDSA"])
        assert token.header["typ"] == "at+jwt"
        assert token.claims["sub"] == USER.show(person.user_id)
        assert token.claims["exp"] - token.claims["iat"] == 600

    async def test_has_no_key_of_the_fleet(self, auth: AuthUnderTest) -> None:
        published = await auth.service.stub(KeySetServiceStub, None).GetJsonWebKeySet(GetJsonWebKeySetRequest())
        fleet = await auth.authentication("org").ListFleetKeys(ListFleetKeysRequest())
        public = {base64.urlsafe_b64decode(key.x + "=") for key in published.keys}
        assert not public & {key.public_key for key in fleet.keys}
        assert all(len(key.public_key) == 32 for key in fleet.keys)

    async def test_private_halves_are_encrypted(self, auth: AuthUnderTest) -> None:
        async with auth.owner_connection() as connection:
            rows = (await connection.execute(text("SELECT purpose, sealed_private_key FROM auth.issuer_keys"))).all()
        assert sorted(row.purpose for row in rows) == ["access", "context", "pepper"]
        assert all(len(row.sealed_private_key) > 32 for row in rows)
