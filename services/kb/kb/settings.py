"""Settings of kb, read from the environment under `KB_`."""

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings

MEBIBYTE = 1024 * 1024


class EmbeddingSettings(BaseModel):
    """Which model embeds documents and queries."""

    provider: Literal["local", "openai"] = "local"
    """`local` runs MiniLM here; `openai` asks any provider that speaks OpenAI's embeddings API."""
    threads: int = Field(default=2, ge=1, le=64)
    """Passages that the local model embeds at once."""
    model_file: Path | None = None
    """ONNX file of the local model; the packaged one when empty."""
    tokenizer_file: Path | None = None
    """tokenizer.json of the local model; the packaged one when empty. Chunks are counted in its tokens."""
    base_url: str = ""
    """Of the provider, up to and without /embeddings."""
    api_key: SecretStr = SecretStr("")
    model: str = ""
    """The provider's name of the model."""
    dimensions: int = Field(default=1536, ge=1, le=4000)
    """Of the provider's vectors; halfvec holds 4000 that an index could take."""
    nano_usd_per_million_tokens: int = Field(default=0, ge=0)
    """What the provider charges, in billionths of a US dollar."""

    @model_validator(mode="after")
    def _provider_is_named(self) -> Self:
        if self.provider == "openai" and not (self.base_url and self.model):
            raise ValueError("provider openai needs base_url and model")
        return self


class ParsingSettings(BaseModel):
    """What extracting the text of one file may use."""

    cpu_seconds: int = Field(default=30, ge=1)
    timeout: timedelta = timedelta(seconds=60)
    memory_bytes: int = Field(default=1024 * MEBIBYTE, ge=128 * MEBIBYTE)
    """Address space of the child."""
    text_characters: int = Field(default=20_000_000, ge=1)
    """The most text that a document may hold."""


class UploadSettings(BaseModel):
    """Files as they come in."""

    size_bytes: int = Field(default=200 * MEBIBYTE, ge=1)
    """The largest file that is taken."""
    abandoned_after: timedelta = timedelta(hours=1)
    """When a document whose bytes did not arrive is failed."""


class KbSettings(ServiceSettings):
    """All settings of kb."""

    model_config = SettingsConfigDict(env_prefix="KB_")

    embeddings: EmbeddingSettings = EmbeddingSettings()
    parsing: ParsingSettings = ParsingSettings()
    uploads: UploadSettings = UploadSettings()
