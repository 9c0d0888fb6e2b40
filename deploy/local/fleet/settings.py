"""What can be set about the local fleet: variables with the prefix FLEET_, and PROCESSES."""

import json
from pathlib import Path
from typing import Self

from pydantic import AliasChoices, BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.servers.ports import free_ports

SERVICES = ("auth", "org", "kb", "conversation", "agent", "tool")
PARTS = (*SERVICES, "gateway")
"""Every process that has a key of its own."""


class Ports(BaseModel):
    """Ports on 127.0.0.1: of the gateway (HTTP), the services (gRPC) and the servers."""

    gateway: int = 8000
    auth: int = 7001
    org: int = 7002
    kb: int = 7003
    conversation: int = 7004
    agent: int = 7005
    tool: int = 7006
    gateway_metrics: int = 7100
    auth_metrics: int = 7101
    org_metrics: int = 7102
    kb_metrics: int = 7103
    conversation_metrics: int = 7104
    agent_metrics: int = 7105
    tool_metrics: int = 7106
    postgres: int = 7432
    nats: int = 7422
    s3: int = 7433

    def of(self, name: str) -> int:
        """Return the port of a part or a server."""
        port: int = getattr(self, name)
        return port

    @classmethod
    def free(cls) -> Self:
        """Return ports that were all free a moment ago."""
        return cls(**dict(zip(cls.model_fields, free_ports(len(cls.model_fields)), strict=True)))

    @classmethod
    def kept_in(cls, file: Path) -> Self:
        """Return the free ports that the file names, chosen and written there the first time."""
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(cls.free().model_dump_json(indent=2))
        return cls(**json.loads(file.read_text()))


class FleetSettings(BaseSettings):
    """Where the fleet keeps its data, which ports it takes and how many processes it is."""

    model_config = SettingsConfigDict(env_prefix="FLEET_", env_nested_delimiter="__", env_ignore_empty=True)

    data: Path = Path(".local")
    """FLEET_DATA: folder of data, keys, secrets and logs."""
    ports: Ports = Ports()
    """FLEET_PORTS__GATEWAY and so on."""
    processes: bool = Field(default=False, validation_alias=AliasChoices("PROCESSES", "FLEET_PROCESSES"))
    """PROCESSES=1: a process for each service, instead of one for all."""
