"""The embedded servers: they start, answer, are found again, and leave nothing."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import boto3
import nats
import psutil
import pytest
from botocore.config import Config

from chassis.servers import EmbeddedNats, EmbeddedPostgres, EmbeddedS3, EmbeddedServer, S3Address, ServerFailed
from chassis.servers.ports import free_ports, is_free

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    yield server
    server.stop()


async def scalar(server: EmbeddedPostgres, statement: str, **options: str) -> object:
    connection = await asyncpg.connect(server.address.url(), **options)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def s3_client(address: S3Address) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=address.endpoint_url,
        region_name=address.region,
        aws_access_key_id=address.access_key,
        aws_secret_access_key=address.secret_key,
        config=Config(signature_version="s3v4"),
    )


class TestPostgres:
    async def test_answers_over_tcp_and_has_vectors(self, postgres: EmbeddedPostgres) -> None:
        postgres.start()

        await scalar(postgres, "CREATE EXTENSION vector")

        assert await scalar(postgres, "SELECT '[1,2]'::vector <-> '[1,2]'::vector") == 0.0
        assert str(await scalar(postgres, "SHOW server_version")).startswith("18")

    async def test_refuses_a_wrong_password(self, postgres: EmbeddedPostgres) -> None:
        postgres.start()

        with pytest.raises(asyncpg.InvalidPasswordError):
            await scalar(postgres, "SELECT 1", password="wrong")

    async def test_keeps_data_port_and_password_over_a_restart(self, postgres: EmbeddedPostgres) -> None:
        before = postgres.start().address
        await scalar(postgres, "CREATE TABLE kept (value int)")

        postgres.stop()
        assert postgres.start().address == before
        assert await scalar(postgres, "SELECT count(*) FROM kept") == 0

    async def test_starts_after_a_kill(self, postgres: EmbeddedPostgres) -> None:
        postgres.start()
        await scalar(postgres, "CREATE TABLE kept (value int)")

        postgres.kill()

        postgres.start()
        assert await scalar(postgres, "SELECT count(*) FROM kept") == 0

    def test_is_taken_over_by_who_starts_the_same_folder(self, postgres: EmbeddedPostgres) -> None:
        postgres.start()

        other = EmbeddedPostgres(postgres.folder).start()

        assert other.pid == postgres.pid
        other.stop()
        assert not postgres.is_running()

    def test_leaves_no_process_and_no_port(self, postgres: EmbeddedPostgres) -> None:
        postgres.start()
        family = [psutil.Process(postgres.pid), *psutil.Process(postgres.pid).children(recursive=True)]

        postgres.stop()

        assert [member for member in family if member.is_running()] == []
        assert is_free(postgres.port)

    def test_a_taken_port_is_named(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(ServerFailed, match=str(port)):
                EmbeddedPostgres(tmp_path / "postgres", port=port).start()

    def test_a_reused_pid_is_not_taken_for_the_server(self, postgres: EmbeddedPostgres) -> None:
        postgres.folder.mkdir()
        state = {"pid": os.getpid(), "create_time": 1.0}
        (postgres.folder / "process.json").write_text(json.dumps(state))

        assert not postgres.is_running()

    def test_keeps_secrets_from_other_users(self, postgres: EmbeddedPostgres) -> None:
        postgres.start()

        assert (postgres.folder / "secrets.json").stat().st_mode & 0o077 == 0
        assert not (postgres.folder / "password").exists()

    @pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become somebody else")
    def test_starts_as_an_ordinary_user(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = Path("/tmp") / f"fleet-as-nobody-{os.getpid()}"
        folder.mkdir(mode=0o700)
        shutil.chown(folder, "nobody", "nogroup")
        path = f"__import__('pathlib').Path({str(folder)!r})"
        code = f"from chassis.servers import EmbeddedPostgres; EmbeddedPostgres({path}).start().stop()"
        try:
            subprocess.run(
                ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", sys.executable, "-c", code],
                check=True,
                cwd="/",
            )
            assert (folder / "data" / "PG_VERSION").exists()
        finally:
            shutil.rmtree(folder)


class TestNats:
    async def test_keeps_messages_over_a_restart_and_asks_for_the_password(self, tmp_path: Path) -> None:
        server = EmbeddedNats(tmp_path / "nats").start()
        try:
            await self.publish(server)
            server.stop()
            server.start()
            assert await self.count(server) == 1
            with pytest.raises(nats.errors.Error):
                await nats.connect(server.address.url, allow_reconnect=False, connect_timeout=1)
        finally:
            server.stop()

    async def publish(self, server: EmbeddedNats) -> None:
        async with await nats.connect(
            server.address.url, user=server.address.user, password=server.address.password
        ) as client:
            await client.jetstream().add_stream(name="facts", subjects=["facts.>"])
            await client.jetstream().publish("facts.one", b"1")

    async def count(self, server: EmbeddedNats) -> int:
        async with await nats.connect(
            server.address.url, user=server.address.user, password=server.address.password
        ) as client:
            return (await client.jetstream().stream_info("facts")).state.messages


class TestS3:
    def test_keeps_objects_over_a_stop_and_a_kill(self, tmp_path: Path) -> None:
        server = EmbeddedS3(tmp_path / "s3").start()
        try:
            s3_client(server.address).create_bucket(Bucket="files")
            s3_client(server.address).put_object(Bucket="files", Key="one", Body=b"1" * 70_000)
            server.stop()
            assert not server.is_running()
            server.start()
            s3_client(server.address).put_object(Bucket="files", Key="two", Body=b"2")
            server.kill()
            server.start()
            bodies = [
                s3_client(server.address).get_object(Bucket="files", Key=key)["Body"].read() for key in ("one", "two")
            ]
            assert bodies == [b"1" * 70_000, b"2"]
        finally:
            server.stop()


class Unstartable(EmbeddedNats):
    def _command(self, ports: object) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('no luck today')"]


class TestServer:
    def test_a_program_that_ends_is_an_error_with_its_log(self, tmp_path: Path) -> None:
        server: EmbeddedServer = Unstartable(tmp_path, port=free_ports(1)[0])

        with pytest.raises(ServerFailed, match="no luck today"):
            server.start()

    def test_one_that_is_not_durable_ends_with_who_started_it(self, tmp_path: Path) -> None:
        code = (
            "import os, pathlib, sys; from chassis.servers import EmbeddedNats;"
            "EmbeddedNats(pathlib.Path(sys.argv[1]), durable=False).start(); os.kill(os.getpid(), 9)"
        )

        subprocess.run([sys.executable, "-c", code, tmp_path / "nats"], check=False)

        server = EmbeddedNats(tmp_path / "nats")
        deadline = time.monotonic() + 10
        while server.is_running() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not server.is_running()

    def test_stopping_what_never_started_does_nothing(self, tmp_path: Path) -> None:
        EmbeddedNats(tmp_path / "never").stop()

        assert not (tmp_path / "never").exists()
