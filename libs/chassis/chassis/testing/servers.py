"""The servers of a test session: started when first asked for, ended with the session."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from chassis.servers import EmbeddedNats, EmbeddedPostgres, EmbeddedS3
from chassis.settings import DatabaseSettings, NatsSettings, StorageSettings

S = TypeVar("S", EmbeddedPostgres, EmbeddedNats, EmbeddedS3)

PASSWORD = SecretStr("only-for-tests")


class SessionServers:
    """Postgres, NATS and an S3 store of one test session, each in a folder that goes with it.

    One a process: `pytest-xdist` workers have their own.
    """

    def __init__(self) -> None:
        self._started: list[EmbeddedPostgres | EmbeddedNats | EmbeddedS3] = []

    @cached_property
    def folder(self) -> Path:
        """Where the servers keep their data."""
        return Path(tempfile.mkdtemp(prefix="definable-tests-"))

    @cached_property
    def postgres(self) -> EmbeddedPostgres:
        """A Postgres with pgvector that does not outlive a power cut."""
        return self._start(EmbeddedPostgres(self.folder / "postgres", durable=False))

    @cached_property
    def nats(self) -> EmbeddedNats:
        """A NATS with JetStream."""
        return self._start(EmbeddedNats(self.folder / "nats", durable=False))

    @cached_property
    def s3(self) -> EmbeddedS3:
        """An S3 store."""
        return self._start(EmbeddedS3(self.folder / "s3", durable=False))

    def stop(self) -> None:
        """End what was started and delete its data."""
        for server in reversed(self._started):
            server.kill()
        if "folder" in vars(self):
            shutil.rmtree(self.folder, ignore_errors=True)
        vars(self).clear()
        self._started = []

    def _start(self, server: S) -> S:
        self._started.append(server)
        server.start()
        return server


SERVERS = SessionServers()
"""Those of this process."""


def database_settings(name: str | None = None, *, server: EmbeddedPostgres | None = None) -> DatabaseSettings:
    """Return settings for a database, a fresh one unless named; `bootstrap` makes it.

    It is on the session's Postgres. A test that kills its server brings one of its own.
    """
    address = (server or SERVERS.postgres).address
    return DatabaseSettings(
        host=address.host,
        port=address.port,
        name=name or f"test_{uuid.uuid4().hex[:12]}",
        owner_password=PASSWORD,
        app_password=PASSWORD,
        machinery_password=PASSWORD,
        admin_url=SecretStr(address.url()),
    )


def nats_settings() -> NatsSettings:
    """Return settings for the session's NATS."""
    address = SERVERS.nats.address
    return NatsSettings(url=address.url, user=address.user, password=SecretStr(address.password))


def storage_settings(bucket: str | None = None) -> StorageSettings:
    """Return settings for the session's S3 store, with a bucket of its own unless named."""
    address = SERVERS.s3.address
    return StorageSettings(
        endpoint_url=address.endpoint_url,
        region=address.region,
        bucket=bucket or f"test-{uuid.uuid4().hex[:12]}",
        access_key=address.access_key,
        secret_key=SecretStr(address.secret_key),
    )
