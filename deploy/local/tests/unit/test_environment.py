"""What each process is told: nothing of others, and every variable is a setting."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from chassis.servers import NatsAddress, PostgresAddress, S3Address
from fleet.environment import Environment
from fleet.preparing import SETTINGS
from fleet.secrets import Secrets
from fleet.settings import PARTS, SERVICES, FleetSettings, Ports
from gateway.settings import GatewaySettings


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setattr("os.environ", {"PATH": "/bin"})
    secrets = Secrets(tmp_path)
    secrets.make()
    return Environment(
        tmp_path,
        Ports(),
        secrets,
        postgres=PostgresAddress("127.0.0.1", 7432, "postgres", "superuser-password"),
        nats=NatsAddress("127.0.0.1", 7422, "fleet", "nats-password"),
        s3=S3Address("127.0.0.1", 7433, "key", "secret"),
    )


def own_variables(environment: Mapping[str, str], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in environment if name.startswith(prefix)]


def has_setting(kind: type[BaseSettings], variable: str) -> bool:
    fields = kind.model_fields
    for part in variable.lower().split("__"):
        if part not in fields:
            return False
        annotation = fields[part].annotation
        fields = getattr(annotation, "model_fields", None) or dict.fromkeys(SERVICES, fields[part])
    return True


class TestEnvironment:
    @pytest.mark.parametrize("part", PARTS)
    def test_every_variable_is_a_setting(self, environment: Environment, part: str) -> None:
        kind = GatewaySettings if part == "gateway" else SETTINGS[part]
        prefix = f"{part.upper()}_"

        variables = own_variables(environment.of(part), prefix)

        assert variables
        assert [name for name in variables if not has_setting(kind, name)] == []

    def test_only_bootstrap_knows_the_superuser(self, environment: Environment) -> None:
        assert "superuser-password" not in str(environment.of(*PARTS))
        assert "superuser-password" in environment.of("kb", admin=True)["KB_DATABASE__ADMIN_URL"]

    def test_only_kb_knows_the_store(self, environment: Environment) -> None:
        assert [part for part in PARTS if "STORAGE__SECRET_KEY" in str(environment.of(part))] == ["kb"]

    def test_a_process_knows_no_secret_of_another(self, environment: Environment) -> None:
        kb = set(environment.of("kb").items())

        assert not {name for name, _ in kb if name.startswith(("AUTH_", "ORG_"))}

    def test_what_is_set_outside_wins(self, environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KB_DATABASE__HOST", "db.example.org")

        assert environment.of("kb")["KB_DATABASE__HOST"] == "db.example.org"


class TestSecrets:
    def test_stay_the_same(self, tmp_path: Path) -> None:
        Secrets(tmp_path).make()
        before = {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

        Secrets(tmp_path).make()

        assert {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before

    def test_private_ones_are_the_owners(self, tmp_path: Path) -> None:
        Secrets(tmp_path).make()

        private = [tmp_path / "secrets.json", *(tmp_path / "keys").glob("*.key")]
        assert len(private) == 1 + len(PARTS)
        assert [file.name for file in private if file.stat().st_mode & 0o077] == []


class TestSettings:
    def test_ports_are_set_one_by_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FLEET_PORTS__GATEWAY", "9000")

        ports = FleetSettings().ports

        assert (ports.gateway, ports.auth) == (9000, 7001)

    def test_processes_is_set_by_its_short_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROCESSES", "1")
        assert FleetSettings().processes
        monkeypatch.setenv("PROCESSES", "")
        assert not FleetSettings().processes

    def test_free_ports_are_kept(self, tmp_path: Path) -> None:
        file = tmp_path / "ports.json"

        assert Ports.kept_in(file) == Ports.kept_in(file)
        assert len(set(Ports.kept_in(file).model_dump().values())) == len(Ports.model_fields)
