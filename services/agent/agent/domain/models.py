"""Models that can answer, and what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.domain.errors import ModelNotFound

OFFLINE = "offline"


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model of a provider. Prices are billionths of a US dollar a token."""

    id: str
    provider: str
    name: str
    display_name: str
    description: str = ""
    context_tokens: int = 128_000
    input_nano_usd: int = 0
    output_nano_usd: int = 0

    @property
    def is_free(self) -> bool:
        return not (self.input_nano_usd or self.output_nano_usd)

    def cost_nano_usd(self, *, input_tokens: int, output_tokens: int) -> int:
        """Price what a step used."""
        return input_tokens * self.input_nano_usd + output_tokens * self.output_nano_usd


class ModelCatalogue:
    """The models that can be named, by provider in order of preference; the offline one is last and always there."""

    def __init__(self, offers: Mapping[str, Sequence[ModelSpec]], *, default_id: str = "") -> None:
        self._offers = dict(offers)
        self._default_id = default_id

    def offer(self, provider: str, specs: Sequence[ModelSpec]) -> None:
        """Replace what a provider offers, keeping its place."""
        self._offers[provider] = specs

    @property
    def default(self) -> ModelSpec:
        """The chosen model once it is offered, else the first of the first provider."""
        specs = [spec for offered in self._offers.values() for spec in offered]
        return next((spec for spec in specs if spec.id == self._default_id), specs[0])

    def all(self) -> list[ModelSpec]:
        """List the default first, then the others by id."""
        default = self.default
        others = [spec for offered in self._offers.values() for spec in offered if spec.id != default.id]
        return [default, *sorted(others, key=lambda spec: spec.id)]

    def find(self, model_id: str) -> ModelSpec:
        """Return the model of this id, the default for an empty one. Raises ModelNotFound."""
        if not model_id:
            return self.default
        for spec in self.all():
            if spec.id == model_id:
                return spec
        raise ModelNotFound(model=model_id)
