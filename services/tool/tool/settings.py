"""Settings of the tool service, from variables that begin with TOOL_."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings


class ToolSettings(ServiceSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(env_prefix="TOOL_", env_nested_delimiter="__", extra="ignore")

    name: str = "tool"
    allowed_private_addresses: list[str] = Field(
        default_factory=list,
        description="Networks in CIDR notation that tools may reach although they are not public; none by default.",
    )
    fetch_max_bytes: int = Field(
        default=2_097_152, ge=1, description="The largest page that fetch_page reads, in bytes."
    )
