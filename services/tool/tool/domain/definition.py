"""What a version of a tool is; immutable once it is stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from tool.domain import schemas, templates
from tool.domain.kinds import Effect, Kind, Policy
from tool.domain.templates import HttpTemplate

DEFAULT_TIMEOUT = timedelta(seconds=30)
MAX_TIMEOUT = timedelta(seconds=120)
DEFAULT_MAX_OUTPUT_BYTES = 65_536


@dataclass(frozen=True)
class ToolDefinition:
    """What a tool does and how it may be used. `http` is there on tools of kind HTTP only."""

    name: str
    description: str
    kind: Kind
    effect: Effect
    policy: Policy = Policy.ALLOW
    input_schema: Mapping[str, Any] = field(default_factory=lambda: dict(schemas.NO_ARGUMENTS))
    output_schema: Mapping[str, Any] = field(default_factory=dict)
    http: HttpTemplate | None = None
    timeout: timedelta = DEFAULT_TIMEOUT
    max_output_bytes: int = DEFAULT_MAX_OUTPUT_BYTES

    def check(self) -> None:
        """Raise ToolSchemaInvalid or ToolTemplateInvalid unless the parts fit together."""
        schemas.check_schema(self.input_schema, field="tool.input_schema", of_object=True)
        if self.output_schema:
            schemas.check_schema(self.output_schema, field="tool.output_schema", of_object=False)
        if self.http is not None:
            templates.check(self.http, input_schema=self.input_schema)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads; the time-out is in seconds."""
        return asdict(self) | {"timeout": self.timeout.total_seconds()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ToolDefinition":
        """Return the definition that `to_json` wrote."""
        http = stored.get("http")
        return cls(
            **{
                **stored,
                "kind": Kind(stored["kind"]),
                "effect": Effect(stored["effect"]),
                "policy": Policy(stored["policy"]),
                "http": HttpTemplate(**http) if http else None,
                "timeout": timedelta(seconds=stored["timeout"]),
            }
        )
