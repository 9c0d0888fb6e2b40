"""Settings of auth, read from variables that start with AUTH_."""

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field
from pydantic_settings import SettingsConfigDict

from auth.domain.throttles import Limit
from chassis.settings import ServiceSettings


class TrustSettings(BaseModel):
    """Which processes belong to the fleet."""

    folder: Path
    """Folder of public keys: `<name>.pub`, or `<name>.<anything>.pub` while a process has several."""


class PasswordSettings(BaseModel):
    """How passwords are verified."""

    concurrency: int = Field(default=2, ge=1)
    """Hashes computed at once; each takes 19 MiB and a core for about 30 ms."""


class SessionSettings(BaseModel):
    """How long tokens of clients live."""

    access_token_life: timedelta = timedelta(minutes=10)
    """Life of an access token; at most 10 minutes."""
    refresh_token_life: timedelta = timedelta(days=30)
    """Life of a refresh token: how long a session may lie unused."""


class ThrottleSettings(BaseModel):
    """How many attempts are let through."""

    window: timedelta = timedelta(minutes=5)
    """Attempts are forgotten this long after the first."""
    account_attempts: int = Field(default=10, ge=1)
    """Failed log-ins for one account."""
    address_attempts: int = Field(default=100, ge=1)
    """Failed log-ins from one address."""
    sign_up_attempts: int = Field(default=300, ge=1)
    """Sign-ups from one address."""

    @property
    def account(self) -> Limit:
        """The limit on log-ins for one account."""
        return Limit("account", self.account_attempts, self.window)

    @property
    def address(self) -> Limit:
        """The limit on log-ins from one address."""
        return Limit("address", self.address_attempts, self.window)

    @property
    def sign_up(self) -> Limit:
        """The limit on sign-ups from one address."""
        return Limit("sign-up", self.sign_up_attempts, self.window)


class AuthSettings(ServiceSettings):
    """Everything auth can be told from outside."""

    model_config = SettingsConfigDict(env_prefix="AUTH_", env_nested_delimiter="__")

    issuer: str = "http://127.0.0.1:8000"
    """What access tokens name as their issuer: the public address of the gateway."""
    trust: TrustSettings
    passwords: PasswordSettings = PasswordSettings()
    sessions: SessionSettings = SessionSettings()
    throttles: ThrottleSettings = ThrottleSettings()
    api_key_requests_per_minute: int = Field(default=600, ge=1)
    """Requests a minute for keys that set no limit of their own."""
