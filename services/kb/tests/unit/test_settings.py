"""Settings fail at start, with a name."""

import pytest
from pydantic import ValidationError

from kb.settings import KbSettings


class TestKbSettings:
    def test_has_defaults_that_need_nothing(self) -> None:
        settings = KbSettings()

        assert settings.name == "kb"
        assert settings.embeddings.provider == "local"

    def test_wants_an_address_for_a_provider(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KB_EMBEDDINGS__PROVIDER", "openai")

        with pytest.raises(ValidationError, match="base_url"):
            KbSettings()
