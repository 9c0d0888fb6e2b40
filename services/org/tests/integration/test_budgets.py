"""BudgetService: every reservation is held once and settled once, whoever repeats or races."""

import asyncio
from typing import Any
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration

from chassis.testing import refused
from definable.org.v1.budget_service_pb2 import ReserveBudgetRequest, SettleBudgetRequest
from org.jobs import Upkeep

from .running import Org, found  # noqa: TID252


def a_reservation(*, amount: int = 1_000, ttl_seconds: int = 60) -> ReserveBudgetRequest:
    return ReserveBudgetRequest(
        reservation_id=str(uuid4()),
        principal="user_1",
        agent_id="agent_1",
        amount_nano_usd=amount,
        ttl=Duration(seconds=ttl_seconds),
    )


async def held(org: Org, request: ReserveBudgetRequest, columns: str) -> list[tuple[Any, ...]]:
    """Read the row of a reservation."""
    return await org.rows(f"SELECT {columns} FROM org.budget_reservations WHERE id = $1", request.reservation_id)


class TestReserveBudget:
    async def test_is_granted_whole_and_stored(self, org: Org) -> None:
        home, request = await found(org), a_reservation(amount=5_000)

        answer = await org.budgets(home).ReserveBudget(request)

        assert answer.granted_nano_usd == 5_000
        rows = await org.rows(
            "SELECT state, granted_nano_usd FROM org.budget_reservations WHERE id = $1", request.reservation_id
        )
        assert rows == [("HELD", 5_000)]

    async def test_repeated_at_once_is_one_hold_with_one_answer(self, org: Org) -> None:
        home, request = await found(org), a_reservation(amount=100)
        requests = [request, *(ReserveBudgetRequest() for _ in range(19))]
        for number, repeated in enumerate(requests):
            repeated.CopyFrom(request)
            repeated.amount_nano_usd = 100 + number

        answers = await asyncio.gather(*(org.budgets(home).ReserveBudget(repeated) for repeated in requests))

        rows = await org.rows(
            "SELECT granted_nano_usd FROM org.budget_reservations WHERE id = $1", request.reservation_id
        )
        assert len(rows) == 1
        assert {answer.granted_nano_usd for answer in answers} == {rows[0][0]}

    async def test_of_one_id_in_two_organizations_are_two_holds(self, org: Org) -> None:
        home, other, request = await found(org), await found(org), a_reservation()

        await org.budgets(home).ReserveBudget(request)
        await org.budgets(other).ReserveBudget(request)

        rows = await held(org, request, "count(*)")
        assert rows == [(2,)]

    async def test_after_the_settlement_is_refused(self, org: Org) -> None:
        home, request = await found(org), a_reservation()
        await org.budgets(home).ReserveBudget(request)
        await org.budgets(home).SettleBudget(SettleBudgetRequest(reservation_id=request.reservation_id))

        with refused("BUDGET_RESERVATION_CLOSED"):
            await org.budgets(home).ReserveBudget(request)

    async def test_prolongs_what_is_held(self, org: Org) -> None:
        home, request = await found(org), a_reservation(ttl_seconds=1)
        await org.budgets(home).ReserveBudget(request)
        request.ttl.FromSeconds(600)

        await org.budgets(home).ReserveBudget(request)

        assert await held(org, request, "expire_time > now() + interval '9 minutes'") == [(True,)]

    async def test_refuses_ids_and_amounts_that_are_none(self, org: Org) -> None:
        home = await found(org)

        for request in (
            ReserveBudgetRequest(reservation_id="1", amount_nano_usd=1),
            ReserveBudgetRequest(reservation_id=str(uuid4()), amount_nano_usd=-1),
        ):
            with refused("VALIDATION_FAILED"):
                await org.budgets(home).ReserveBudget(request)


class TestSettleBudget:
    async def test_counts_once_whatever_is_said_later(self, org: Org) -> None:
        home, request = await found(org), a_reservation()
        await org.budgets(home).ReserveBudget(request)

        answers = await asyncio.gather(
            *(
                org.budgets(home).SettleBudget(
                    SettleBudgetRequest(reservation_id=request.reservation_id, actual_nano_usd=amount)
                )
                for amount in range(1, 11)
            )
        )

        assert len({answer.settled_nano_usd for answer in answers}) == 1

    async def test_of_what_another_organization_holds_is_unknown(self, org: Org) -> None:
        home, other, request = await found(org), await found(org), a_reservation()
        await org.budgets(home).ReserveBudget(request)

        for reservation_id in (request.reservation_id, str(uuid4())):
            with refused("BUDGET_RESERVATION_NOT_FOUND"):
                await org.budgets(other).SettleBudget(SettleBudgetRequest(reservation_id=reservation_id))


class TestExpiry:
    async def test_ends_holds_that_nobody_settled_and_leaves_the_others(self, org: Org) -> None:
        home, lost, kept = await found(org), a_reservation(), a_reservation()
        for request in (lost, kept):
            await org.budgets(home).ReserveBudget(request)
        await org.execute(
            "UPDATE org.budget_reservations SET expire_time = now() - interval '1 second' WHERE id = $1",
            lost.reservation_id,
        )

        await Upkeep(org.acquire, interval=org.settings.upkeep_interval).once()

        states = [await held(org, request, "state") for request in (lost, kept)]
        assert states == [[("EXPIRED",)], [("HELD",)]]
        with refused("BUDGET_RESERVATION_CLOSED"):
            await org.budgets(home).ReserveBudget(lost)

    async def test_leaves_what_was_spent_to_be_settled(self, org: Org) -> None:
        home, request = await found(org), a_reservation()
        await org.budgets(home).ReserveBudget(request)
        await org.execute("UPDATE org.budget_reservations SET state = 'EXPIRED' WHERE id = $1", request.reservation_id)

        answer = await org.budgets(home).SettleBudget(
            SettleBudgetRequest(reservation_id=request.reservation_id, actual_nano_usd=7)
        )

        assert answer.settled_nano_usd == 7
