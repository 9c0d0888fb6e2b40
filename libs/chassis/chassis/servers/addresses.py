"""Where a server is and how to log in: what clients of it take."""

from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass(frozen=True)
class PostgresAddress:
    """A Postgres server and a role that may create roles and databases."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)

    def url(self, database: str = "postgres") -> str:
        """Return postgresql://user:password@host:port/database."""
        return f"postgresql://{quote(self.user)}:{quote(self.password)}@{self.host}:{self.port}/{quote(database)}"


@dataclass(frozen=True)
class NatsAddress:
    """A NATS server with JetStream and an account on it."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Return nats://host:port, without the password."""
        return f"nats://{self.host}:{self.port}"


@dataclass(frozen=True)
class S3Address:
    """An S3-compatible store and a key that may do everything in it."""

    host: str
    port: int
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"

    @property
    def endpoint_url(self) -> str:
        """Return http://host:port."""
        return f"http://{self.host}:{self.port}"
