"""Settings from the environment."""

from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from chassis.settings import ProcessSettings, ServiceSettings, load


class KbSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="KB_")

    chunk_tokens: int = 400


class TestLoad:
    def test_reads_nested_variables_under_its_prefix(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KB_DATABASE__HOST", "db.internal")
        monkeypatch.setenv("KB_DATABASE__APP_PASSWORD", "hunter2")
        monkeypatch.setenv("KB_PEERS__AUTH", "127.0.0.1:5001")
        monkeypatch.setenv("KB_PEERS__ORG", "org:5002")
        monkeypatch.setenv("KB_KEYS__PRIVATE_KEY_FILE", "/keys/kb.key")
        monkeypatch.setenv("KB_CHUNK_TOKENS", "200")

        settings = load(KbSettings)

        assert (settings.name, settings.database.host, settings.chunk_tokens) == ("kb", "db.internal", 200)
        assert settings.peers == {"auth": "127.0.0.1:5001", "org": "org:5002"}
        assert settings.keys.private_key_file == Path("/keys/kb.key")

    def test_shows_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KB_DATABASE__APP_PASSWORD", "hunter2")

        assert "hunter2" not in repr(load(KbSettings))

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("KB_GRPC__LISTEN", "nowhere"),
            ("KB_GRPC__LISTEN", "127.0.0.1:99999"),
            ("KB_DATABASE__PORT", "high"),
            ("KB_LOG_LEVEL", "LOUD"),
            ("KB_PEERS__AUTH", "auth"),
        ],
    )
    def test_exits_with_the_name_of_the_variable_that_is_wrong(
        self, variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv(variable, value)

        with pytest.raises(SystemExit) as caught:
            load(KbSettings)

        assert caught.value.code == 2
        assert variable in capsys.readouterr().err

    def test_shares_nothing_between_two_processes_in_one(self) -> None:
        one, other = KbSettings(), KbSettings()
        one.peers["auth"] = "x:1"

        assert other.peers == {}
        assert ProcessSettings(name="gateway").name == "gateway"
