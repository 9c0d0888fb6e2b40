import pytest
from pydantic import ValidationError

from agent.adapters.providers.offline import OfflineProvider
from agent.adapters.providers.registry import ProviderRegistry, catalogue
from agent.domain.errors import ModelNotFound
from agent.settings import AgentSettings

VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


class TestCatalogue:
    def test_has_the_offline_model_when_nothing_is_configured(self) -> None:
        models = catalogue(AgentSettings())

        assert [model.id for model in models.all()] == ["offline"]

    def test_prefers_a_provider_with_a_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")

        models = catalogue(AgentSettings())

        assert models.default.provider == "anthropic"
        assert models.find("offline").is_free

    def test_names_the_models_of_a_compatible_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_COMPATIBLE__BASE_URL", "http://127.0.0.1:1/v1")
        monkeypatch.setenv(
            "AGENT_COMPATIBLE__MODELS", '[{"name": "llama", "context_tokens": 8192, "input_nano_usd": 3}]'
        )

        model = catalogue(AgentSettings()).find("compatible/llama")

        assert (model.context_tokens, model.cost_nano_usd(input_tokens=10, output_tokens=5)) == (8192, 30)

    def test_knows_no_model_that_is_not_configured(self) -> None:
        with pytest.raises(ModelNotFound):
            catalogue(AgentSettings()).find("openai/gpt-4.1")

    def test_takes_the_default_that_is_chosen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        monkeypatch.setenv("AGENT_DEFAULT_MODEL", "openai/gpt-4o")

        assert catalogue(AgentSettings()).all()[0].id == "openai/gpt-4o"


class TestAgentSettings:
    def test_lets_the_own_variable_win(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "common")
        monkeypatch.setenv("AGENT_OPENAI__API_KEY", "own")

        assert AgentSettings().openai.api_key.get_secret_value() == "own"

    def test_shows_no_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")

        assert "sk-canary" not in repr(AgentSettings())

    def test_refuses_a_heartbeat_that_a_lease_does_not_outlive(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_WORKER__HEARTBEAT_SECONDS", "10")

        with pytest.raises(ValidationError, match="heartbeat_seconds"):
            AgentSettings()


class TestProviderRegistry:
    def test_always_serves_the_offline_model(self) -> None:
        settings = AgentSettings()

        assert isinstance(ProviderRegistry(settings).of(catalogue(settings).default), OfflineProvider)
