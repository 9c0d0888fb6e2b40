"""Settings of the conversation service, from variables that begin with CONVERSATION_."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings


class ConversationSettings(ServiceSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(env_prefix="CONVERSATION_", env_nested_delimiter="__", extra="ignore")

    name: str = "conversation"
    history_messages: int = Field(
        default=40, ge=0, le=400, description="Messages given to the agent besides the new one."
    )
    history_characters: int = Field(
        default=60_000,
        ge=0,
        le=1_000_000,
        description="Characters given to the agent besides the new message; the oldest go first.",
    )
