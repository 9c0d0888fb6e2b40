"""Postgres, NATS and an S3 store from wheels, for development and tests.

Each server is a class over one data folder: `start()` returns when it answers (and takes over one that an earlier
start left running), `stop()` ends it, `address` is all that a client needs. Code that only uses a server takes the
address, so that it works as well with a server that somebody else runs.
"""

from chassis.servers.addresses import NatsAddress, PostgresAddress, S3Address
from chassis.servers.nats import EmbeddedNats
from chassis.servers.postgres import EmbeddedPostgres
from chassis.servers.process import EmbeddedServer, ServerFailed
from chassis.servers.storage import EmbeddedS3
from chassis.servers.tracked import TrackedProcess

__all__ = [
    "EmbeddedNats",
    "EmbeddedPostgres",
    "EmbeddedS3",
    "EmbeddedServer",
    "NatsAddress",
    "PostgresAddress",
    "S3Address",
    "ServerFailed",
    "TrackedProcess",
]
