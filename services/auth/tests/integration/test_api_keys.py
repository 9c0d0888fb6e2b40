"""API keys: who may make which, and what they are worth."""

from datetime import UTC, datetime, timedelta

import pytest
from auth_testing import AuthUnderTest, Person, Standing
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from auth.domain import api_keys as key_text
from chassis.ids import ORGANIZATION, USER, new_id
from chassis.rpc.caller import Caller
from chassis.testing import refused
from definable.auth.v1.account_service_pb2 import SwitchOrganizationRequest
from definable.auth.v1.api_key_service_pb2 import (
    ApiKey,
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    GetApiKeyRequest,
    ListApiKeysRequest,
    RevokeApiKeyRequest,
    UpdateApiKeyRequest,
)
from definable.auth.v1.events_pb2 import ApiKeyCreated, ApiKeyRevoked, ApiKeyUpdated
from definable.options.v1.options_pb2 import Rank


def at(time: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time)
    return message


async def owner_of(auth: AuthUnderTest, person: Person) -> Caller:
    return await auth.caller(person.tokens.access_token)


async def create(auth: AuthUnderTest, caller: Caller, **fields: object) -> CreateApiKeyResponse:
    key = ApiKey(**({"display_name": "A key"} | fields))  # type: ignore[arg-type]  # fields of a test, by name
    return await auth.api_keys(caller).CreateApiKey(CreateApiKeyRequest(api_key=key))


def updating(key_id: str, *paths: str, **fields: object) -> UpdateApiKeyRequest:
    key = ApiKey(id=key_id, **fields)  # type: ignore[arg-type]  # as above
    return UpdateApiKeyRequest(api_key=key, update_mask=FieldMask(paths=paths or list(fields)))


class TestCreateApiKey:
    async def test_shows_the_secret_once(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        caller = await owner_of(auth, person)
        created = await create(auth, caller, scopes=["kb.*"], requests_per_minute=7)
        assert key_text.parse(created.secret) is not None
        assert created.secret.startswith(created.api_key.public_prefix)
        assert created.api_key.creator_id == USER.show(person.user_id)
        read = await auth.api_keys(caller).GetApiKey(GetApiKeyRequest(id=created.api_key.id))
        assert read == created.api_key
        assert created.secret.split("_")[3] not in str(read)
        assert (await auth.service.outbox.last(ApiKeyCreated)).api_key_id == created.api_key.id

    async def test_stores_no_secret(self, auth: AuthUnderTest) -> None:
        created = await create(auth, await owner_of(auth, await auth.sign_up()))
        async with auth.owner_connection() as connection:
            rows = await connection.execute(text("SELECT k::text FROM auth.api_keys AS k"))
            stored = "".join(row[0] for row in rows)
        secret = key_text.parse(created.secret)
        assert secret is not None
        assert secret.public_id in stored
        assert secret.secret not in stored

    async def test_gives_the_callers_grants_without_scopes(self, auth: AuthUnderTest) -> None:
        created = await create(auth, await owner_of(auth, await auth.sign_up()))
        assert list(created.api_key.scopes) == ["*"]

    async def test_repeats_the_secret_for_a_repeated_call(self, auth: AuthUnderTest) -> None:
        stub = auth.api_keys(await owner_of(auth, await auth.sign_up()))
        request = CreateApiKeyRequest(api_key=ApiKey(display_name="Once"))
        first = await stub.CreateApiKey(request, metadata=[("idempotency-key", "a-key")])
        second = await stub.CreateApiKey(request, metadata=[("idempotency-key", "a-key")])
        assert first == second
        assert len((await stub.ListApiKeys(ListApiKeysRequest())).api_keys) == 1

    @pytest.mark.parametrize("scope", ["nothing.*", "kb", "kb.documents.fly", "..."])
    async def test_refuses_a_scope_that_means_nothing(self, auth: AuthUnderTest, scope: str) -> None:
        with refused("SCOPE_UNKNOWN"):
            await create(auth, await owner_of(auth, await auth.sign_up()), scopes=[scope])

    async def test_refuses_a_scope_the_caller_lacks(self, auth: AuthUnderTest) -> None:
        person = await auth.sign_up()
        auth.org.add(person.organization_id, person.user_id, Standing(rank=Rank.DEVELOPER, grants=("auth.*", "kb.*")))
        caller = await owner_of(auth, person)
        await create(auth, caller, scopes=["kb.*"])
        for scope in ("*", "agent.*", "org.members.delete"):
            with refused("SCOPE_NOT_HELD"):
                await create(auth, caller, scopes=[scope])

    async def test_a_key_makes_no_wider_key(self, auth: AuthUnderTest) -> None:
        narrow = await create(auth, await owner_of(auth, await auth.sign_up()), scopes=["auth.api_keys.*", "kb.*"])
        caller = await auth.caller(narrow.secret)
        await create(auth, caller, scopes=["kb.*.read"])
        with refused("SCOPE_NOT_HELD"):
            await create(auth, caller, scopes=["*"])

    async def test_a_key_for_an_end_user_makes_keys_for_nobody_else(self, auth: AuthUnderTest) -> None:
        bound = await create(auth, await owner_of(auth, await auth.sign_up()), end_user="customer-1")
        child = await create(auth, await auth.caller(bound.secret), end_user="customer-2")
        assert child.api_key.end_user == "customer-1"

    async def test_refuses_bad_input(self, auth: AuthUnderTest) -> None:
        caller = await owner_of(auth, await auth.sign_up())
        wrong: list[dict[str, object]] = [
            {"display_name": ""},
            {"display_name": "x" * 101},
            {"requests_per_minute": -1},
            {"scopes": ["*", "*"]},
        ]
        for bad in wrong:
            with refused("VALIDATION_FAILED"):
                await create(auth, caller, **bad)
        with refused("ADDRESS_RANGE_INVALID"):
            await create(auth, caller, allowed_addresses=["10.0.0.1/8"])
        with refused("EXPIRY_IN_PAST"):
            await create(auth, caller, expire_time=at(datetime.now(UTC) - timedelta(seconds=1)))


class TestReadApiKeys:
    async def test_pages_the_newest_first(self, auth: AuthUnderTest) -> None:
        stub = auth.api_keys(caller := await owner_of(auth, await auth.sign_up()))
        made = [(await create(auth, caller, display_name=str(number))).api_key.id for number in range(5)]
        seen, token, pages = [], "", 0
        while True:
            page = await stub.ListApiKeys(ListApiKeysRequest(page_size=2, page_token=token))
            seen += [key.id for key in page.api_keys]
            pages += 1
            token = page.next_page_token
            if not token:
                break
        assert (seen, pages) == (made[::-1], 3)

    async def test_ends_exactly_at_a_full_page(self, auth: AuthUnderTest) -> None:
        caller = await owner_of(auth, await auth.sign_up())
        for _ in range(2):
            await create(auth, caller)
        page = await auth.api_keys(caller).ListApiKeys(ListApiKeysRequest(page_size=2))
        assert (len(page.api_keys), page.next_page_token) == (2, "")

    async def test_refuses_pages_of_others_and_of_no_size(self, auth: AuthUnderTest) -> None:
        caller, stranger = await owner_of(auth, await auth.sign_up()), await owner_of(auth, await auth.sign_up())
        for _ in range(2):
            await create(auth, caller)
        token = (await auth.api_keys(caller).ListApiKeys(ListApiKeysRequest(page_size=1))).next_page_token
        for foreign in (token, "made-up"):
            with refused("PAGE_TOKEN_INVALID"):
                await auth.api_keys(stranger).ListApiKeys(ListApiKeysRequest(page_size=1, page_token=foreign))
        for size in (-1, 201):
            with refused("VALIDATION_FAILED"):
                await auth.api_keys(caller).ListApiKeys(ListApiKeysRequest(page_size=size))


class TestUpdateApiKey:
    async def test_changes_only_what_the_mask_names(self, auth: AuthUnderTest) -> None:
        caller = await owner_of(auth, await auth.sign_up())
        key = (await create(auth, caller, scopes=["kb.*"])).api_key
        updated = await auth.api_keys(caller).UpdateApiKey(updating(key.id, "display_name", display_name="New"))
        assert (updated.display_name, list(updated.scopes)) == ("New", ["kb.*"])
        assert updated.etag != key.etag
        assert list((await auth.service.outbox.last(ApiKeyUpdated)).changed_fields) == ["display_name"]

    async def test_clears_an_expiry(self, auth: AuthUnderTest) -> None:
        caller = await owner_of(auth, await auth.sign_up())
        key = (await create(auth, caller, expire_time=at(datetime.now(UTC) + timedelta(days=1)))).api_key
        updated = await auth.api_keys(caller).UpdateApiKey(updating(key.id, "expire_time"))
        assert not updated.HasField("expire_time")

    async def test_refuses_bad_input(self, auth: AuthUnderTest) -> None:
        caller = await owner_of(auth, await auth.sign_up())
        stub, key = auth.api_keys(caller), (await create(auth, caller)).api_key
        for request in (
            updating(key.id, "end_user", end_user="x"),
            updating(key.id, "creator_id"),
            updating(key.id, "display_name", display_name=""),
        ):
            with refused("VALIDATION_FAILED"):
                await stub.UpdateApiKey(request)
        with refused("SCOPE_UNKNOWN"):
            await stub.UpdateApiKey(updating(key.id, scopes=["nothing.*"]))
        with refused("INVALID_ID"):
            await stub.UpdateApiKey(updating("org_1", display_name="x"))

    async def test_nobody_widens_what_acts_as_another(self, auth: AuthUnderTest) -> None:
        """A key acts as its creator: who may change any key would borrow the rank of its creator."""
        owner, developer = await auth.sign_up(), await auth.sign_up()
        key = (await create(auth, await owner_of(auth, owner), scopes=["kb.documents.read"])).api_key
        auth.org.add(owner.organization_id, developer.user_id, Standing(rank=Rank.DEVELOPER, role="developer"))
        switch = SwitchOrganizationRequest(organization_id=ORGANIZATION.show(owner.organization_id))
        pair = await auth.accounts(await owner_of(auth, developer)).SwitchOrganization(switch)
        stub = auth.api_keys(await auth.caller(pair.access_token))
        for request in (
            updating(key.id, scopes=["*"]),
            updating(key.id, "display_name", "scopes", display_name="x", scopes=["kb.*"]),
            updating(key.id, "allowed_addresses"),
            updating(key.id, "expire_time"),
        ):
            with refused("API_KEY_OF_ANOTHER"):
                await stub.UpdateApiKey(request)
        renamed = await stub.UpdateApiKey(updating(key.id, display_name="theirs"))
        assert (renamed.display_name, list(renamed.scopes)) == ("theirs", ["kb.documents.read"])

    async def test_refuses_what_was_changed_meanwhile(self, auth: AuthUnderTest) -> None:
        caller = await owner_of(auth, await auth.sign_up())
        stub, key = auth.api_keys(caller), (await create(auth, caller)).api_key
        await stub.UpdateApiKey(updating(key.id, display_name="1"), metadata=[("if-match", key.etag)])
        with refused("ETAG_MISMATCH"):
            await stub.UpdateApiKey(updating(key.id, display_name="2"), metadata=[("if-match", key.etag)])


class TestRevokeApiKey:
    async def test_ends_the_key_for_good(self, auth: AuthUnderTest) -> None:
        caller = await owner_of(auth, await auth.sign_up())
        created = await create(auth, caller)
        stub = auth.api_keys(caller)
        revoked = await stub.RevokeApiKey(RevokeApiKeyRequest(id=created.api_key.id))
        assert revoked.HasField("revoke_time")
        with refused("CREDENTIAL_REVOKED"):
            await auth.authenticate(created.secret)
        with refused("API_KEY_REVOKED"):
            await stub.UpdateApiKey(updating(created.api_key.id, display_name="x"))
        assert (await auth.service.outbox.last(ApiKeyRevoked)).api_key_id == created.api_key.id
        assert await stub.RevokeApiKey(RevokeApiKeyRequest(id=created.api_key.id)) == revoked


class TestWhoMayUseApiKeys:
    async def test_matrix(self, auth: AuthUnderTest) -> None:
        """Nobody, a stranger, a member without the permission; who may is in the tests above."""
        person, stranger = await auth.sign_up(), await auth.sign_up()
        key = (await create(auth, await owner_of(auth, person))).api_key
        auth.org.add(person.organization_id, person.user_id, Standing(rank=Rank.MEMBER, role="member"))
        member = await owner_of(auth, person)
        calls = {
            "GetApiKey": GetApiKeyRequest(id=key.id),
            "UpdateApiKey": updating(key.id, display_name="x"),
            "RevokeApiKey": RevokeApiKeyRequest(id=key.id),
        }
        everywhere = calls | {
            "CreateApiKey": CreateApiKeyRequest(api_key=ApiKey(display_name="x")),
            "ListApiKeys": ListApiKeysRequest(),
        }
        for name, request in everywhere.items():
            with refused("UNAUTHENTICATED"):
                await getattr(auth.api_keys(), name)(request)
            with refused("PERMISSION_DENIED"):
                await getattr(auth.api_keys(member), name)(request)
        foreign = auth.api_keys(await owner_of(auth, stranger))
        for name, request in calls.items():
            with refused("API_KEY_NOT_FOUND") as of_foreign:
                await getattr(foreign, name)(request)
            unknown = type(request).FromString(
                request.SerializeToString().replace(key.id.encode(), f"key_{ORGANIZATION.show(new_id())[4:]}".encode())
            )
            with refused("API_KEY_NOT_FOUND") as of_unknown:
                await getattr(foreign, name)(unknown)
            assert str(of_foreign.error) == str(of_unknown.error)
        assert not (await foreign.ListApiKeys(ListApiKeysRequest())).api_keys
