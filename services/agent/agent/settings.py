"""Settings of the agent service, from variables that begin with AGENT_."""

from datetime import timedelta

from pydantic import AliasChoices, BaseModel, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings


class ConfiguredModel(BaseModel):
    """A model that a provider serves. Prices are billionths of a US dollar a token."""

    name: str
    context_tokens: int = Field(default=128_000, ge=1)
    input_nano_usd: int = Field(default=0, ge=0)
    output_nano_usd: int = Field(default=0, ge=0)


def _price(name: str, context_tokens: int, input_nano_usd: int, output_nano_usd: int) -> ConfiguredModel:
    return ConfiguredModel(
        name=name, context_tokens=context_tokens, input_nano_usd=input_nano_usd, output_nano_usd=output_nano_usd
    )


# List prices a million tokens, in thousandths of a dollar, are the same numbers. Override with AGENT_OPENAI__MODELS.
OPENAI_MODELS = [
    _price("gpt-4.1-mini", 1_047_576, 400, 1_600),
    _price("gpt-4.1", 1_047_576, 2_000, 8_000),
    _price("gpt-4o-mini", 128_000, 150, 600),
    _price("gpt-4o", 128_000, 2_500, 10_000),
    _price("gpt-5", 400_000, 1_250, 10_000),
    _price("gpt-5-mini", 400_000, 250, 2_000),
]
ANTHROPIC_MODELS = [
    _price("claude-sonnet-4-5", 200_000, 3_000, 15_000),
    _price("claude-haiku-4-5", 200_000, 1_000, 5_000),
    _price("claude-opus-4-5", 200_000, 5_000, 25_000),
]


class ProviderSettings(BaseModel):
    """A provider of chat models; it is configured when it has a key or a base URL."""

    api_key: SecretStr = SecretStr("")
    base_url: str = ""
    """https://host/v1; empty is the provider's own."""
    models: list[ConfiguredModel] = []
    """JSON: [{"name": "…", "context_tokens": 8192, "input_nano_usd": 0, "output_nano_usd": 0}]"""
    timeout_seconds: float = Field(default=120, gt=0, le=3600)
    """Longest silence of the provider."""

    @property
    def is_configured(self) -> bool:
        return bool(self.api_key.get_secret_value() or self.base_url)


class OfflineSettings(BaseModel):
    """The built-in offline model."""

    token_delay_ms: float = Field(default=0, ge=0, le=10_000)
    """Pause before each word, so that streams can be watched; tests use it to be in the middle of one."""

    @property
    def token_delay(self) -> timedelta:
        return timedelta(milliseconds=self.token_delay_ms)


class WorkerSettings(BaseModel):
    """The engine of runs."""

    capacity: int = Field(default=64, ge=0, le=10_000)
    """Runs at a time; 0 takes none and only serves."""
    lease_seconds: float = Field(default=15, ge=1, le=300)
    """How long a run stays with a worker that says nothing."""
    heartbeat_seconds: float = Field(default=5, gt=0, le=100)
    """How often a worker says that it lives."""

    @model_validator(mode="after")
    def _beats_often_enough(self) -> "WorkerSettings":
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError("heartbeat_seconds must be at most half of lease_seconds")
        return self


class AgentSettings(ServiceSettings):
    """What the agent service reads from its environment. The providers' own variables count, too."""

    model_config = SettingsConfigDict(
        env_prefix="AGENT_", env_nested_delimiter="__", extra="ignore", populate_by_name=True
    )

    default_model: str = ""
    """Id of the model for definitions that name none; empty is the first configured one, then "offline"."""
    openai: ProviderSettings = ProviderSettings()
    anthropic: ProviderSettings = ProviderSettings()
    compatible: ProviderSettings = ProviderSettings(timeout_seconds=300)
    """Any server that speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp. Name its models in `models`."""
    offline: OfflineSettings = OfflineSettings()
    worker: WorkerSettings = WorkerSettings()

    openai_api_key: SecretStr = Field(
        default=SecretStr(""), validation_alias=AliasChoices("openai_api_key", "OPENAI_API_KEY")
    )
    openai_base_url: str = Field(default="", validation_alias=AliasChoices("openai_base_url", "OPENAI_BASE_URL"))
    anthropic_api_key: SecretStr = Field(
        default=SecretStr(""), validation_alias=AliasChoices("anthropic_api_key", "ANTHROPIC_API_KEY")
    )
    anthropic_base_url: str = Field(
        default="", validation_alias=AliasChoices("anthropic_base_url", "ANTHROPIC_BASE_URL")
    )

    @model_validator(mode="after")
    def _take_common_variables(self) -> "AgentSettings":
        """Let AGENT_OPENAI__API_KEY win over OPENAI_API_KEY, and so on."""
        self.openai = _completed(self.openai, self.openai_api_key, self.openai_base_url)
        self.anthropic = _completed(self.anthropic, self.anthropic_api_key, self.anthropic_base_url)
        return self


def _completed(provider: ProviderSettings, api_key: SecretStr, base_url: str) -> ProviderSettings:
    own_key = provider.api_key if provider.api_key.get_secret_value() else api_key
    return provider.model_copy(update={"api_key": own_key, "base_url": provider.base_url or base_url})
