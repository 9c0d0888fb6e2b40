"""What an operator can set of org. Variables begin with ORG_."""

from datetime import timedelta

from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings


class OrgSettings(ServiceSettings):
    """Settings of org; those that every service has come from the chassis."""

    model_config = SettingsConfigDict(env_prefix="ORG_", env_nested_delimiter="__", extra="ignore")

    upkeep_interval: timedelta = timedelta(seconds=10)
    """How often holds are expired and old feed entries and jobs discarded."""
