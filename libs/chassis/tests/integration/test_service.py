"""A service as a process: starting before what it needs, saying so, stopping in time."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shop.settings import ShopSettings
from shop.unit_of_work import ShopUnitOfWork

from chassis.data import migrations
from chassis.data.database import Database
from chassis.rpc.client import Peers
from chassis.service import Service
from chassis.settings import KeySettings
from chassis.testing import Authority, eventually
from chassis.testing.servers import database_settings
from definable.discovery.v1.discovery_pb2 import GetDescriptorsRequest
from definable.discovery.v1.discovery_pb2_grpc import DiscoveryStub

MAIN = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from chassis import cli
from chassis.data.database import Database
from chassis.rpc.client import Peers
from chassis.service import Service
from shop.settings import ShopSettings

class Settings(ShopSettings):
    model_config = {**ShopSettings.model_config, "env_prefix": "SHOP_"}

def build(settings):
    database = Database(settings.database, service="shop")
    return Service("shop", settings, [], database, readiness=[database.ping], peers=Peers(settings))

cli.main("shop", Settings, build)
"""


class Stumbles:
    """Background work that fails the first time."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, stop: asyncio.Event) -> None:
        self.runs += 1
        if self.runs == 1:
            raise RuntimeError("stumbled")
        await stop.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
async def settings(authority: Authority) -> ShopSettings:
    settings = ShopSettings(
        database=database_settings(),
        peers={"auth": authority.address},
        keys=KeySettings(private_key_file=authority.key_file("shop")),
        metrics_listen="127.0.0.1:0",
        log_level="WARNING",
    )
    await migrations.bootstrap(settings)
    await migrations.run(settings)
    return settings


def a_service(settings: ShopSettings, **parts: Any) -> Service:
    database = Database(settings.database, service="shop")
    return Service(
        name="shop",
        settings=settings,
        servicers=[],
        database=database,
        readiness=[database.ping],
        peers=Peers(settings),
        unit_of_work=ShopUnitOfWork.factory(database),
        **parts,
    )


@pytest.fixture
async def shop(settings: ShopSettings) -> AsyncIterator[Service]:
    service = a_service(settings)
    await service.start()
    yield service
    await service.stop(0)


async def health(port: int) -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        return int((await stub.Check(health_pb2.HealthCheckRequest())).status)


class TestStart:
    async def test_serves_discovery_health_and_probes(self, shop: Service) -> None:
        await shop.until_ready(10)

        async with grpc.aio.insecure_channel(f"127.0.0.1:{shop.port}") as channel:
            assert (await DiscoveryStub(channel).GetDescriptors(GetDescriptorsRequest())).service == "shop"
        assert await health(shop.port) == health_pb2.HealthCheckResponse.SERVING
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{shop.probes_port}") as client:
            assert (await client.get("/readyz")).status_code == 200
            assert 'fleet_rpc_seconds_count{code="OK"' in (await client.get("/metrics")).text

    async def test_waits_for_auth_and_is_ready_when_it_comes(self, settings: ShopSettings, tmp_path: Path) -> None:
        port = free_port()
        service = a_service(settings.model_copy(update={"peers": {"auth": f"127.0.0.1:{port}"}}))
        await service.start()
        await asyncio.sleep(0.3)
        assert await health(service.port) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert set(await service.check()) == {"fleet_keys", "revocations"}

        late = Authority(tmp_path)
        await _start_at(late, service, port)

        await service.until_ready(10)
        await service.stop(0)
        await late.stop()

    async def test_waits_for_its_database(self, settings: ShopSettings) -> None:
        away = settings.database.model_copy(update={"port": free_port()})
        service = a_service(settings.model_copy(update={"database": away}))
        await service.start()

        with pytest.raises(TimeoutError, match="postgres"):
            await service.until_ready(1)

        await service.stop(0)

    async def test_needs_to_know_where_auth_is(self, settings: ShopSettings) -> None:
        with pytest.raises(ValueError, match="SHOP_PEERS__AUTH"):
            await a_service(settings.model_copy(update={"peers": {}})).start()

    async def test_starts_background_work_again_when_it_stumbles(self, settings: ShopSettings) -> None:
        work = Stumbles()
        service = a_service(settings, background=[work])
        await service.start()

        async def has_run_again() -> bool:
            return work.runs == 2

        await eventually(has_run_again, timeout=5)
        await service.stop(0)


class TestStop:
    async def test_takes_no_longer_than_what_is_in_flight(self, settings: ShopSettings) -> None:
        service = a_service(settings)
        await service.start()
        await service.until_ready(10)

        async with asyncio.timeout(3):
            await service.stop(grace=20)

        with pytest.raises(grpc.aio.AioRpcError):
            await health(service.port)


async def _start_at(authority: Authority, service: Service, port: int) -> None:
    """Start an authority at a port that was free a moment ago, trusting the service's key."""
    from chassis.crypto import load_private_key
    from chassis.rpc.authentication import FleetAuthenticator
    from chassis.rpc.server import build_server
    from chassis.rpc.tokens import AssertionVerifier, ContextTokenVerifier, StaticFleetKeys
    from chassis.settings import GrpcSettings
    from chassis.testing.authority import _Authentication

    key_file = service.settings.keys.private_key_file
    assert key_file is not None
    public_key = load_private_key(key_file).public_key()
    server = build_server(
        name="auth",
        servicers=[_Authentication(authority)],
        authenticate=FleetAuthenticator(
            ContextTokenVerifier(StaticFleetKeys({authority.kid: authority.public_key})),
            AssertionVerifier(lambda _: [public_key]),
        ),
        settings=GrpcSettings(listen=f"127.0.0.1:{port}"),
    )
    await server.start()
    authority._server = server


@pytest.mark.timeout(300)  # processes import for seconds while the machine is busy
class TestCommandLine:
    @pytest.fixture
    def environment(self, settings: ShopSettings, tmp_path: Path) -> dict[str, str]:
        database = settings.database
        (tmp_path / "main.py").write_text(MAIN)
        return {
            **os.environ,
            "SHOP_DATABASE__HOST": database.host,
            "SHOP_DATABASE__PORT": str(database.port),
            "SHOP_DATABASE__NAME": database.name,
            "SHOP_DATABASE__OWNER_PASSWORD": database.owner_password.get_secret_value(),
            "SHOP_DATABASE__APP_PASSWORD": database.app_password.get_secret_value(),
            "SHOP_DATABASE__MACHINERY_PASSWORD": database.machinery_password.get_secret_value(),
            "SHOP_DATABASE__ADMIN_URL": database.admin_url.get_secret_value() if database.admin_url else "",
            "SHOP_PEERS__AUTH": settings.peers["auth"],
            "SHOP_KEYS__PRIVATE_KEY_FILE": str(settings.keys.private_key_file),
            "SHOP_METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        }

    async def run(self, tmp_path: Path, environment: dict[str, str], *verb: str) -> asyncio.subprocess.Process:
        folder = str(Path(__file__).parents[1])
        return await asyncio.create_subprocess_exec(
            sys.executable, str(tmp_path / "main.py"), folder, *verb, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def test_serves_until_it_is_told_to_end(self, tmp_path: Path, environment: dict[str, str]) -> None:
        process = await self.run(tmp_path, environment, "serve")
        async with httpx.AsyncClient(base_url=f"http://{environment['SHOP_METRICS_LISTEN']}") as client:

            async def is_ready() -> bool:
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(is_ready, timeout=60)
        process.send_signal(signal.SIGTERM)

        async with asyncio.timeout(20):
            _, log = await process.communicate()
        assert process.returncode == 0
        assert {"service_started", "service_draining"} <= {json.loads(line)["event"] for line in log.splitlines()}

    async def test_migrates_and_checks(self, tmp_path: Path, environment: dict[str, str]) -> None:
        for verb in (["migrate"], ["check"]):
            process = await self.run(tmp_path, environment, *verb)
            output, errors = await process.communicate()
            assert process.returncode == 0, errors.decode()
        assert json.loads(output) == {"ready": True, "amiss": {}}

    async def test_check_says_what_is_amiss(self, tmp_path: Path, environment: dict[str, str]) -> None:
        process = await self.run(tmp_path, {**environment, "SHOP_PEERS__AUTH": "127.0.0.1:1"}, "check")

        output, _ = await process.communicate()

        assert process.returncode == 1
        assert json.loads(output)["amiss"] == {"fleet_keys": "auth is unavailable"}

    async def test_names_the_variable_that_is_wrong(self, tmp_path: Path, environment: dict[str, str]) -> None:
        process = await self.run(tmp_path, {**environment, "SHOP_DATABASE__PORT": "x"}, "serve")

        _, errors = await process.communicate()

        assert process.returncode == 2
        assert b"SHOP_DATABASE__PORT" in errors
