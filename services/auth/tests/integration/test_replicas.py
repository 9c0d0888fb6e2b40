"""Several replicas over one database, and a process that dies."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from auth_testing import PASSWORD, AuthUnderTest, FakeOrg, running_auth, serve_org
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import SecretStr

from auth.application.issuer import KeyRing
from auth.domain.issuer import ANNOUNCE, LINGER, KeyPurpose
from auth.main import build_key_ring
from auth.settings import AuthSettings, TrustSettings
from chassis.data import migrations
from chassis.errors import FleetError
from chassis.rpc.client import Channels, Peers
from chassis.rpc.tokens import StaticFleetKeys
from chassis.settings import EncryptionSettings, KeySettings, ProcessSettings
from chassis.testing import Authority, database_settings, eventually, refused
from chassis.testing.services import ENCRYPTION_KEY
from definable.auth.v1.account_service_pb2 import LogOutRequest, SignUpRequest
from definable.auth.v1.account_service_pb2_grpc import AccountServiceStub
from definable.auth.v1.authentication_service_pb2 import ListFleetKeysRequest, WatchRevocationsRequest
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceStub

Serving = tuple[asyncio.subprocess.Process, AccountServiceStub, dict[str, Ed25519PublicKey]]


@pytest.fixture(scope="module")
async def replicas(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[AuthUnderTest, AuthUnderTest]]:
    database, folder = database_settings(), tmp_path_factory.mktemp("replicas")
    async with (
        running_auth(folder / "one", database=database) as one,
        running_auth(folder / "two", database=database) as two,
    ):
        yield one, two


@pytest.fixture
async def rings(authority: Authority) -> AsyncIterator[list[KeyRing]]:
    """The key rings of replicas that haven't started yet, over a fresh database."""
    settings = await _migrated(authority)
    built = [build_key_ring(settings) for _ in range(6)]
    yield [keys for _, _, keys in built]
    for database, _, _ in built:
        await database.close()


class TestReplicas:
    async def test_share_their_keys_and_tokens(self, replicas: tuple[AuthUnderTest, AuthUnderTest]) -> None:
        one, two = replicas
        listed = [await auth.authentication("kb").ListFleetKeys(ListFleetKeysRequest()) for auth in replicas]
        assert [key.kid for key in listed[0].keys] == [key.kid for key in listed[1].keys]
        person = await one.sign_up()
        two.org.add(person.organization_id, person.user_id)
        assert await two.authenticate(person.tokens.access_token)

    async def test_hear_of_each_others_revocations_within_a_second(
        self, replicas: tuple[AuthUnderTest, AuthUnderTest]
    ) -> None:
        one, two = replicas
        person = await one.sign_up()
        call = two.authentication("kb").WatchRevocations(WatchRevocationsRequest())
        messages = aiter(call)
        assert (await anext(messages)).heartbeat
        await one.accounts(await one.caller(person.tokens.access_token)).LogOut(LogOutRequest())
        async with asyncio.timeout(1):
            assert (await anext(messages)).session_id.startswith("sess_")
        call.cancel()

    async def test_accept_an_assertion_once_together(self, replicas: tuple[AuthUnderTest, AuthUnderTest]) -> None:
        one, two = replicas
        two.process_keys["kb"] = one.process_keys["kb"]
        (two.trust / "kb.pub").write_bytes((one.trust / "kb.pub").read_bytes())
        await asyncio.sleep(1.1)
        process = one.process("kb")
        stub_type = type(one.authentication("kb"))
        await one.service.stub(stub_type, process).ListFleetKeys(ListFleetKeysRequest())
        with refused("UNAUTHENTICATED"):
            await two.service.stub(stub_type, process).ListFleetKeys(ListFleetKeysRequest())


class TestKeyRing:
    async def test_makes_each_key_once_when_replicas_start_together(self, rings: list[KeyRing]) -> None:
        await asyncio.gather(*(keys.load() for keys in rings))
        assert len({_kids(keys) for keys in rings}) == 1

    async def test_publishes_a_new_key_before_it_signs_and_no_third(self, rings: list[KeyRing]) -> None:
        one, two, *_ = rings
        await one.load()
        now = datetime.now(UTC)
        signer = one.signer(KeyPurpose.ACCESS, now=now).kid
        fresh = await one.rotate(KeyPurpose.ACCESS)
        await two.load()
        for keys in (one, two):
            assert [key.kid for key in keys.published(KeyPurpose.ACCESS, now=now)] == [signer, fresh]
        with refused("ROTATION_UNFINISHED"):
            await two.rotate(KeyPurpose.ACCESS)
        assert two.signer(KeyPurpose.ACCESS, now=now + ANNOUNCE + timedelta(seconds=1)).kid == fresh
        later = now + ANNOUNCE + LINGER + timedelta(seconds=1)
        assert [key.kid for key in two.published(KeyPurpose.ACCESS, now=later)] == [fresh]

    async def test_says_that_it_has_none_before_it_was_loaded(self, rings: list[KeyRing]) -> None:
        with refused("DEPENDENCY_UNAVAILABLE"):
            rings[0].signer(KeyPurpose.ACCESS, now=datetime.now(UTC))


class TestCrash:
    @pytest.mark.slow
    @pytest.mark.timeout(180)
    async def test_between_user_and_organization_is_finished_by_the_job(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        org, keys, settings = FakeOrg(), StaticFleetKeys({}), await _migrated(authority)
        org.may_answer.clear()
        async with serve_org(org, keys) as address:
            environment = _environment(settings, org_address=address, port=_free_port())
            async with _serving(environment, authority.key_file("kb")) as (process, accounts, own_keys):
                keys.keys |= own_keys
                request = SignUpRequest(email="survivor@example.com", password=PASSWORD)

                async def sign_up() -> None:
                    with refused("DEPENDENCY_UNAVAILABLE"):
                        await accounts.SignUp(request)

                signing_up = asyncio.create_task(sign_up())
                await asyncio.wait_for(org.was_asked.wait(), 10)
                process.kill()
                await signing_up
            assert not org.members
            org.may_answer.set()
            async with _serving(environment, authority.key_file("kb")):
                assert await eventually(org.has_members, timeout=30)
        assert org.provision_count == 1


def _kids(keys: KeyRing) -> tuple[str, ...]:
    now = datetime.now(UTC)
    return tuple(keys.signer(purpose, now=now).kid for purpose in KeyPurpose)


async def _migrated(authority: Authority) -> AuthSettings:
    """Return settings for a fresh database with auth's schema."""
    settings = AuthSettings(
        name="auth",
        database=database_settings(),
        trust=TrustSettings(folder=authority.trust_folder),
        encryption=EncryptionSettings(key=SecretStr(ENCRYPTION_KEY)),
    )
    await migrations.bootstrap(settings)
    await migrations.run(settings)
    return settings


def _environment(settings: AuthSettings, *, org_address: str, port: int) -> dict[str, str]:
    database = settings.database
    return os.environ | {
        "AUTH_GRPC__LISTEN": f"127.0.0.1:{port}",
        "AUTH_DATABASE__HOST": database.host,
        "AUTH_DATABASE__PORT": str(database.port),
        "AUTH_DATABASE__NAME": database.name,
        "AUTH_DATABASE__APP_PASSWORD": database.app_password.get_secret_value(),
        "AUTH_DATABASE__MACHINERY_PASSWORD": database.machinery_password.get_secret_value(),
        "AUTH_ENCRYPTION__KEY": ENCRYPTION_KEY,
        "AUTH_PEERS__ORG": org_address,
        "AUTH_TRUST__FOLDER": str(settings.trust.folder),
    }


@asynccontextmanager
async def _serving(environment: dict[str, str], key_file: Path) -> AsyncIterator[Serving]:
    """Run auth as a process of its own; kill it after the block."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "auth", "serve", env=environment)
    settings = ProcessSettings(name="kb", keys=KeySettings(private_key_file=key_file))
    peers = Peers(settings, channels=Channels({"auth": environment["AUTH_GRPC__LISTEN"]}))

    async def keys() -> dict[str, Ed25519PublicKey]:
        try:
            listed = await peers.stub(AuthenticationServiceStub, "auth").ListFleetKeys(ListFleetKeysRequest())
        except FleetError:  # not yet
            return {}
        return {key.kid: Ed25519PublicKey.from_public_bytes(key.public_key) for key in listed.keys}

    try:
        yield process, peers.stub(AccountServiceStub, "auth"), await eventually(keys, timeout=30, every=0.2)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await peers.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
