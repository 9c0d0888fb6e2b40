"""What a run may spend: a slice of the organization's budget is reserved before, and settled after."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from agent.application.claimed_run import ClaimedRun
from agent.domain import ids
from agent.domain.errors import BudgetExhausted
from agent.domain.ports import Budget
from chassis.errors import Code, FleetError
from chassis.ids import new_id

log = structlog.get_logger(__name__)

# A cent: what is reserved at least, so that cheap runs ask once.
SMALLEST_SLICE_NANO_USD = 10_000_000
# A reservation that nobody settles, since its worker was lost, is given back after this.
TTL = timedelta(minutes=20)
_CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """A slice, and what the run had spent when it was reserved."""

    id: UUID
    granted_nano_usd: int
    spent_before_nano_usd: int


class Spending:
    """The reservations of one run. With org away the run goes on: these limits are soft."""

    def __init__(self, budget: Budget, run: ClaimedRun) -> None:
        self._budget = budget
        self._run = run
        self._reservation: Reservation | None = None

    async def ensure(self) -> None:
        """Have enough reserved for another question to the model; nothing for models that cost nothing.

        Raises BudgetExhausted.
        """
        if self._run.model.is_free:
            return
        wanted = self._estimate()
        if self._left() < wanted:
            await self.settle()
            await self._reserve(max(wanted, SMALLEST_SLICE_NANO_USD))

    async def settle(self) -> None:
        """Say what the current slice was used for; one that cannot be settled now runs out by itself."""
        reservation, self._reservation = self._reservation, None
        if reservation is None:
            return
        actual = self._run.usage.cost_nano_usd - reservation.spent_before_nano_usd
        with suppress(FleetError):
            await self._budget.settle(reservation_id=reservation.id, actual_nano_usd=actual)

    def _left(self) -> int:
        if self._reservation is None:
            return 0
        spent = self._run.usage.cost_nano_usd - self._reservation.spent_before_nano_usd
        return self._reservation.granted_nano_usd - spent

    def _estimate(self) -> int:
        run = self._run
        characters = len(run.input) + sum(len(turn["text"]) for turn in run.history) + len(run.text)
        return run.model.cost_nano_usd(
            input_tokens=characters // _CHARACTERS_A_TOKEN, output_tokens=run.definition.parameters.output_tokens
        )

    async def _reserve(self, amount_nano_usd: int) -> None:
        run = self._run
        reservation_id = new_id()
        try:
            granted = await self._budget.reserve(
                reservation_id=reservation_id,
                principal=ids.USER.show(run.actor.principal_id) if run.actor.principal_id else run.actor.subject,
                agent_id=ids.AGENT.show(run.agent_id) if run.agent_id else "",
                amount_nano_usd=amount_nano_usd,
                ttl=TTL,
            )
        except FleetError as error:
            if error.code is Code.RESOURCE_EXHAUSTED:
                raise BudgetExhausted from error
            log.warning("budget.unavailable", reason=error.reason)
            return
        if granted <= 0:
            raise BudgetExhausted
        self._reservation = Reservation(
            id=reservation_id, granted_nano_usd=granted, spent_before_nano_usd=run.usage.cost_nano_usd
        )
