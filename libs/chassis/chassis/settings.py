"""Settings: one class a process, read from the environment under one prefix, checked at start.

`KB_DATABASE__HOST` is `settings.database.host` of a class with the prefix `KB_`. Secrets are `SecretStr`, so that no
log and no traceback shows them.
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\s]+):(?P<port>\d{1,5})")


def _checked_address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError("must be host:port")
    return text


Address = Annotated[str, AfterValidator(_checked_address)]


class GrpcSettings(BaseModel):
    """Where and how the process serves gRPC."""

    listen: Address = "127.0.0.1:0"
    """host:port; port 0 takes a free one."""
    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    drain_seconds: float = Field(default=20.0, ge=0)
    """How long calls in flight may take to finish after SIGTERM."""
    tls_certificate_file: Path | None = None
    """PEM chain of the server; plaintext without, which is for loopback only."""
    tls_private_key_file: Path | None = None
    tls_authority_file: Path | None = None
    """PEM certificate of the fleet's own authority, which clients trust."""


class DatabaseSettings(BaseModel):
    """The service's database: roles `<service>_owner`, `_app` and `_machinery`, a schema of the service's name."""

    host: str = "127.0.0.1"
    port: int = Field(default=5432, ge=1, le=65535)
    name: str = "definable"
    owner_password: SecretStr = SecretStr("")
    """Of the role that migrates."""
    app_password: SecretStr = SecretStr("")
    """Of the role that serves, held by row-level security."""
    machinery_password: SecretStr = SecretStr("")
    """Of the role of relay, claims and reapers."""
    admin_url: SecretStr | None = None
    """postgresql://… of a role that may create roles and databases; only `bootstrap` reads it."""
    pool_size: int = Field(default=5, ge=1, le=200)
    """Connections of the serving role that are kept open."""


class NatsSettings(BaseModel):
    """The broker. Everything but events goes on while it is down."""

    url: str = ""
    """nats://host:port; empty runs without a broker: events wait in the outbox."""
    user: str = ""
    password: SecretStr = SecretStr("")


class StorageSettings(BaseModel):
    """The S3-compatible store of files."""

    endpoint_url: str | None = None
    """http://host:port of a store other than AWS."""
    region: str = "us-east-1"
    bucket: str = "definable"
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")


class KeySettings(BaseModel):
    """The key with which the process proves to auth which process it is."""

    private_key_file: Path | None = None
    """Ed25519: PKCS#8 PEM, or 32 raw bytes in base64."""


class EncryptionSettings(BaseModel):
    """The key of secrets at rest."""

    key: SecretStr | None = None
    """32 bytes in base64."""


class TelemetrySettings(BaseModel):
    """Traces. Off by default."""

    endpoint: str = ""
    """http://host:4318 of an OTLP collector; empty turns tracing off."""
    sample_ratio: float = Field(default=0.1, ge=0, le=1)


class EmailSettings(BaseModel):
    """How mail leaves. Without a host it is written to `folder`, or to the log when there is none."""

    smtp_host: str = ""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_starttls: bool = True
    sender: str = "Definable <no-reply@localhost>"
    folder: Path | None = None


class ProcessSettings(BaseSettings):
    """What every process of the fleet has, the gateway included."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", extra="ignore", validate_default=True)

    name: str = ""
    """Name of the process in the fleet; from the prefix when empty: KB_ is kb."""
    peers: dict[str, Address] = {}
    """host:port of the other processes, by name: KB_PEERS__AUTH."""
    keys: KeySettings = KeySettings()
    metrics_listen: Address | None = None
    """host:port of /metrics, /healthz and /readyz; none are served without."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"
    telemetry: TelemetrySettings = TelemetrySettings()

    @model_validator(mode="after")
    def _name_from_prefix(self) -> "ProcessSettings":
        if not self.name:
            self.name = str(self.model_config.get("env_prefix") or "").rstrip("_").lower()
        return self


class ServiceSettings(ProcessSettings):
    """What every service has. A service adds its own and sets `env_prefix`."""

    grpc: GrpcSettings = GrpcSettings()
    database: DatabaseSettings = DatabaseSettings()
    nats: NatsSettings = NatsSettings()
    storage: StorageSettings = StorageSettings()
    encryption: EncryptionSettings = EncryptionSettings()
    email: EmailSettings = EmailSettings()


S = TypeVar("S", bound=ProcessSettings)


def load(kind: type[S]) -> S:
    """Read settings from the environment; exit with the names of the variables that are missing or wrong."""
    try:
        return kind()
    except ValidationError as error:
        prefix = str(kind.model_config.get("env_prefix") or "")
        for problem in error.errors(include_input=False, include_url=False):
            variable = prefix + "__".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"{variable}: {problem['msg']}\n")
        raise SystemExit(2) from None
