"""The HTTP side of a process."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from chassis.probes import Probes


class Process:
    """A process whose readiness the test decides."""

    def __init__(self) -> None:
        self.amiss: dict[str, str] = {}

    async def readiness(self) -> Mapping[str, str]:
        return self.amiss


@pytest.fixture
async def process() -> Process:
    return Process()


@pytest.fixture
async def address(process: Process) -> AsyncIterator[str]:
    probes = Probes(process.readiness)
    port = await probes.start("127.0.0.1:0")
    yield f"127.0.0.1:{port}"
    await probes.stop()


async def get(address: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://{address}{path}")


class TestProbes:
    async def test_is_alive_and_ready(self, address: str) -> None:
        assert (await get(address, "/healthz")).status_code == 200
        assert (await get(address, "/readyz")).json() == {"status": "ready", "amiss": {}}

    async def test_says_what_is_amiss(self, address: str, process: Process) -> None:
        process.amiss = {"database": "postgres is unavailable"}

        answer = await get(address, "/readyz")

        assert (answer.status_code, answer.json()["amiss"]) == (503, process.amiss)
        assert (await get(address, "/healthz")).status_code == 200

    async def test_offers_metrics(self, address: str) -> None:
        answer = await get(address, "/metrics")

        assert answer.headers["content-type"].startswith("text/plain")
        assert "fleet_rpc_seconds" in answer.text

    async def test_knows_no_other_path(self, address: str) -> None:
        assert (await get(address, "/etc/passwd")).status_code == 404

    @pytest.mark.parametrize("sent", [b"", b"\r\n\r\n", b"GET\r\n\r\n", b"x" * 20000, b"\xff\xfe\r\n\r\n"])
    async def test_outlives_whatever_is_sent(self, address: str, sent: bytes) -> None:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(2):
            await reader.read()
        writer.close()

        assert (await get(address, "/healthz")).status_code == 200
