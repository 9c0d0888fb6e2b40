"""docker-compose.yml: what it tells each process is what the process reads."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.preparing import SETTINGS
from fleet.settings import PARTS, SERVICES
from gateway.settings import GatewaySettings

ROOT = Path(__file__).resolve().parents[4]
Definition = Mapping[str, Any]  # Any: YAML


@pytest.fixture(scope="module")
def compose() -> Mapping[str, Definition]:
    services: Mapping[str, Definition] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def filled(environment: Mapping[str, str]) -> Mapping[str, str]:
    return {name: re.sub(r"\$\{\w+:?[?-]?([^}]*)\}", r"\1", value) for name, value in environment.items()}


class TestCompose:
    @pytest.mark.parametrize("part", PARTS)
    def test_settings_are_valid(
        self, compose: Mapping[str, Definition], part: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in filled(compose[part]["environment"]).items():
            monkeypatch.setenv(name, value)

        settings = GatewaySettings() if part == "gateway" else SETTINGS[part]()

        assert set(settings.peers) == set(SERVICES) - {part}
        assert settings.keys.private_key_file == Path(f"/keys/{part}.key")

    def test_only_the_gateway_is_reached_from_outside(self, compose: Mapping[str, Definition]) -> None:
        assert [name for name, service in compose.items() if "ports" in service] == ["gateway"]

    def test_every_long_running_container_has_a_healthcheck(self, compose: Mapping[str, Definition]) -> None:
        lasting = [name for name, service in compose.items() if service["restart"] != "no"]

        assert [name for name in lasting if "healthcheck" not in compose[name]] == []

    def test_what_it_waits_for_exists(self, compose: Mapping[str, Definition]) -> None:
        awaited = {name for service in compose.values() for name in service.get("depends_on", {})}

        assert awaited <= set(compose)

    def test_every_password_it_asks_for_is_printed(self, compose: Mapping[str, Definition]) -> None:
        asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
        printed = set(re.findall(r'"(\w+_(?:PASSWORD|KEY))"', (ROOT / "tools" / "compose_env.py").read_text()))

        of_services = {name for name in asked if name.split("_")[0].lower() in SERVICES}
        assert asked - of_services == printed
        assert len(of_services) == 4 * len(SERVICES)
