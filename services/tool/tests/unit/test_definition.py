"""Definitions survive being stored."""

from datetime import timedelta

from tool.domain.builtins import BUILTINS
from tool.domain.definition import ToolDefinition
from tool.domain.kinds import Effect, Kind, Policy
from tool.domain.templates import HttpTemplate


class TestToolDefinition:
    def test_is_the_same_after_storage(self) -> None:
        definition = ToolDefinition(
            name="weather",
            description="Tells the weather.",
            kind=Kind.HTTP,
            effect=Effect.IDEMPOTENT,
            policy=Policy.ASK,
            http=HttpTemplate("GET", "https://example.org/{city}", headers={"A": "b"}),
            timeout=timedelta(seconds=7),
        )

        assert ToolDefinition.from_json(definition.to_json()) == definition

    def test_the_built_in_ones_are_valid(self) -> None:
        for definition in BUILTINS.values():
            definition.check()
