"""Settings of the gateway: environment variables with the prefix GATEWAY_."""

from ipaddress import IPv4Network, IPv6Network

from pydantic import BaseModel, Field
from pydantic_settings import SettingsConfigDict

from chassis.settings import Address, ProcessSettings

KIB = 1024
MIB = 1024 * KIB


class LimitSettings(BaseModel):
    """What a client may ask of the gateway."""

    header_timeout_seconds: float = Field(default=10, gt=0)
    """From the first byte, or the connection, to the end of the headers."""
    header_bytes: int = Field(default=32 * KIB, ge=KIB)
    """Names and values of a request's headers together."""
    url_bytes: int = Field(default=8 * KIB, ge=256)
    body_bytes: int = Field(default=MIB, ge=KIB)
    """A JSON body."""
    upload_bytes: int = Field(default=200 * MIB, ge=KIB)
    """A body that is streamed to a service: content and form together."""
    upload_parts: int = Field(default=20, ge=1)
    """Parts of a multipart upload, the file included."""
    body_idle_seconds: float = Field(default=30, gt=0)
    """The longest pause between two pieces of a body."""
    json_depth: int = Field(default=64, ge=4)
    """Arrays and objects within each other."""
    requests_per_minute: int = Field(default=600, ge=1)
    """Of a caller whose credential sets no limit of its own."""
    public_requests_per_minute: int = Field(default=600, ge=1)
    """Of one client address on operations that need no credential."""
    in_flight: int = Field(default=1000, ge=1)
    """Requests that are answered at the same time; open streams don't count."""
    streams: int = Field(default=10_000, ge=1)
    """Open event streams."""


class DeadlineSettings(BaseModel):
    """How long a service may take."""

    unary_seconds: float = Field(default=10, gt=0)
    upload_seconds: float = Field(default=900, gt=0)
    download_seconds: float = Field(default=900, gt=0)


class StreamSettings(BaseModel):
    """Server-sent events."""

    ping_seconds: float = Field(default=10, gt=0)
    """Between the comments that keep an idle connection open."""
    retry_milliseconds: int = Field(default=2000, ge=1)
    """How long a browser waits before it opens a lost stream again."""
    follow_seconds: float = Field(default=10, gt=0)
    """How long work that was accepted may take to begin before a client that wanted to follow it is sent away."""


class CorsSettings(BaseModel):
    """Which web pages may call. None unless named; credentials are headers, never cookies."""

    origins: tuple[str, ...] = ()
    """"https://app.example.org"; "*" lets every page call, with a credential that it must know."""


class GatewaySettings(ProcessSettings):
    """Everything that can be set about the gateway."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    listen: Address = "127.0.0.1:8000"
    """host:port of HTTP; port 0 takes a free one."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks whose X-Forwarded-For is believed."""
    strict_transport: bool = False
    """Whether clients arrive over HTTPS only, and are told to keep it so."""
    limits: LimitSettings = LimitSettings()
    deadlines: DeadlineSettings = DeadlineSettings()
    streams: StreamSettings = StreamSettings()
    cors: CorsSettings = CorsSettings()
    access_log: bool = False
    """Whether each request is logged; those that fail with 500 or more always are."""
    discovery_seconds: float = Field(default=30, gt=0)
    """Between two questions to a service what it serves."""
    drain_seconds: float = Field(default=25, ge=0)
    """How long requests in flight may take to finish after SIGTERM."""
