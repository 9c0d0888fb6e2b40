"""Which embedder the settings ask for."""

from kb.adapters.embeddings.local import LocalEmbedder, LocalTokenizer
from kb.adapters.embeddings.openai_compatible import OpenAiCompatibleEmbedder
from kb.domain.ports import Embedder
from kb.settings import EmbeddingSettings


def from_settings(settings: EmbeddingSettings, tokenizer: LocalTokenizer) -> Embedder:
    """Return the embedder of a process."""
    if settings.provider == "local":
        return LocalEmbedder(tokenizer, threads=settings.threads, file=settings.model_file)
    return OpenAiCompatibleEmbedder(
        base_url=settings.base_url,
        api_key=settings.api_key.get_secret_value(),
        model=settings.model,
        dimensions=settings.dimensions,
        nano_usd_per_million_tokens=settings.nano_usd_per_million_tokens,
    )
