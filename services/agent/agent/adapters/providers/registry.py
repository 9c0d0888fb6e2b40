"""Which providers and models the settings configure."""

import asyncio

import structlog

from agent.adapters.providers.anthropic import AnthropicProvider
from agent.adapters.providers.offline import OfflineProvider
from agent.adapters.providers.openai import OpenAIProvider
from agent.domain.errors import ModelNotFound
from agent.domain.models import OFFLINE, ModelCatalogue, ModelSpec
from agent.domain.provider import ModelProvider
from agent.settings import ANTHROPIC_MODELS, OPENAI_MODELS, AgentSettings, ConfiguredModel, ProviderSettings
from chassis.errors import FleetError
from chassis.messaging.background import stopped_within

log = structlog.get_logger(__name__)

_REFRESH_SECONDS = 60.0
_RETRY_SECONDS = 2.0

OFFLINE_MODEL = ModelSpec(
    id=OFFLINE,
    provider=OFFLINE,
    name=OFFLINE,
    display_name="Offline",
    description=(
        "Built in, needs no key and no network. Not a language model: it quotes the sentences of the passages found "
        "that fit the question best, with citations, and makes the tool calls that a script in the message asks for."
    ),
    context_tokens=1_000_000,
)


class ProviderRegistry:
    """The providers by name."""

    def __init__(self, settings: AgentSettings) -> None:
        offline = OfflineProvider(token_delay=settings.offline.token_delay)
        self._providers: dict[str, ModelProvider] = {OFFLINE: offline}
        if settings.openai.is_configured:
            self._providers["openai"] = _openai(settings.openai, is_openai=not settings.openai.base_url)
        if settings.compatible.is_configured:
            self._providers["compatible"] = _openai(settings.compatible, is_openai=False)
        if settings.anthropic.is_configured:
            self._providers["anthropic"] = AnthropicProvider(
                api_key=settings.anthropic.api_key.get_secret_value(),
                base_url=settings.anthropic.base_url or None,
                timeout_seconds=settings.anthropic.timeout_seconds,
            )

    def of(self, model: ModelSpec) -> ModelProvider:
        """Return who serves a model. Raises ModelNotFound."""
        if model.provider not in self._providers:
            raise ModelNotFound(model=model.id)
        return self._providers[model.provider]


def _openai(provider: ProviderSettings, *, is_openai: bool) -> OpenAIProvider:
    return OpenAIProvider(
        api_key=provider.api_key.get_secret_value(),
        base_url=provider.base_url or None,
        timeout_seconds=provider.timeout_seconds,
        is_openai=is_openai,
    )


def catalogue(settings: AgentSettings) -> ModelCatalogue:
    """List the models that the settings name; what other servers offer is discovered later."""
    openai, anthropic = settings.openai, settings.anthropic
    offers = {
        "openai": _offer("openai", openai, [] if openai.base_url else OPENAI_MODELS),
        "anthropic": _offer("anthropic", anthropic, ANTHROPIC_MODELS),
        "compatible": _offer("compatible", settings.compatible, []),
        OFFLINE: [OFFLINE_MODEL],
    }
    return ModelCatalogue(offers, default_id=settings.default_model)


def _offer(provider: str, configured: ProviderSettings, known: list[ConfiguredModel]) -> list[ModelSpec]:
    if not configured.is_configured:
        return []
    return [_spec(provider, model) for model in configured.models or known]


def _spec(provider: str, model: ConfiguredModel) -> ModelSpec:
    return ModelSpec(
        id=f"{provider}/{model.name}",
        provider=provider,
        name=model.name,
        display_name=model.name,
        description=f"{model.name}, served by {provider}.",
        context_tokens=model.context_tokens,
        input_nano_usd=model.input_nano_usd,
        output_nano_usd=model.output_nano_usd,
    )


class ModelDiscovery:
    """Asks servers behind a base URL for their models, when the settings name none. A Background of the service."""

    def __init__(self, settings: AgentSettings, models: ModelCatalogue) -> None:
        named = {"openai": settings.openai, "compatible": settings.compatible}
        self._asked = {name: one for name, one in named.items() if one.base_url and not one.models}
        self._models = models

    async def run(self, stop: asyncio.Event) -> None:
        """Ask now and every minute until told to stop."""
        while self._asked and not stop.is_set():
            found = [await self._ask(name, provider) for name, provider in self._asked.items()]
            await stopped_within(stop, _REFRESH_SECONDS if all(found) else _RETRY_SECONDS)

    async def _ask(self, name: str, provider: ProviderSettings) -> bool:
        try:
            names = await _openai(provider, is_openai=False).list_models()
        except FleetError as error:
            log.warning("models.not_listed", provider=name, reason=error.reason)
            return False
        known = {model.name: model for model in OPENAI_MODELS}
        offered = [_spec(name, known.get(found, ConfiguredModel(name=found))) for found in names]
        self._models.offer(name, offered)
        return True
