"""State machines: whatever the order of steps, leases fence and keys replay."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from shop.models import Article
from shop.settings import ShopSettings
from shop.unit_of_work import ShopUnitOfWork
from sqlalchemy import text

from chassis.data.database import Database
from chassis.data.idempotency import IdempotentReplay
from chassis.data.unit_of_work import Acquire, StoredReplies
from chassis.errors import IdempotencyKeyBusy, IdempotencyKeyReused
from chassis.ids import new_id
from chassis.messaging.job_servicer import cancel
from chassis.messaging.job_store import JobRecord, JobStore
from chassis.rpc.caller import Actor, CallContext, Caller, Idempotency, answering
from definable.jobs.v1.job_service_pb2 import Job

LEASE = timedelta(minutes=1)
PACE = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


class OnPostgres(RuleBasedStateMachine):
    """A machine whose steps run on a loop of its own, against the shop's database."""

    shop_settings: ClassVar[ShopSettings]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.database = Database(self.shop_settings.database, service="shop")
        self.acquire: Acquire[ShopUnitOfWork] = ShopUnitOfWork.factory(self.database)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.do(self.database.close())
        self.runner.close()


@dataclass
class ModelJob:
    """What a job should be."""

    state: str = "QUEUED"
    epoch: int = 0
    is_expired: bool = False
    endings: int = 0
    cancel_requested: bool = False


class Leases(OnPostgres):
    """Workers come and go; only the one with the newest lease may write."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.store = JobStore(self.database)
        self.kind = f"kind_{new_id().hex}"
        self.organization_id = new_id()
        self.model: dict[Any, ModelJob] = {}

    @rule()
    def enqueue(self) -> None:
        async def work() -> Any:
            async with self.acquire.as_organization(self.organization_id, Actor("", "")) as unit:
                return unit.jobs.enqueue(self.kind, {})

        self.model[self.do(work())] = ModelJob()

    @rule(target=claims)
    def claim(self) -> JobRecord | None:
        claimed: Sequence[JobRecord] = self.do(self.store.claim(self.kind, limit=1, lease=LEASE))
        due = [job for job in self.model.values() if job.state == "QUEUED" or job.is_expired]
        assert bool(claimed) == bool(due)
        if not claimed:
            return None
        job = self.model[claimed[0].id]
        assert job in due
        job.state, job.epoch, job.is_expired = "RUNNING", job.epoch + 1, False
        assert claimed[0].epoch == job.epoch
        return claimed[0]

    @rule(claim=claims)
    def let_the_lease_run_out(self, claim: JobRecord | None) -> None:
        if claim is None or not self._holds(claim):
            return

        async def work() -> None:
            async with self.acquire.machinery() as unit:
                query = text("UPDATE jobs SET lease_until = now() - interval '1 second' WHERE id = :id")
                await unit.session.execute(query, {"id": claim.id})

        self.do(work())
        self.model[claim.id].is_expired = True

    @rule(claim=claims)
    def heartbeat(self, claim: JobRecord | None) -> None:
        if claim is not None:
            beat = self.do(self.store.heartbeat(claim, lease=LEASE))
            assert beat.is_ours == self._holds(claim)
            if beat.is_ours:
                job = self.model[claim.id]
                job.is_expired = False
                assert beat.is_cancel_requested == job.cancel_requested

    @rule(claim=claims, done=st.integers(0, 5))
    def progress(self, claim: JobRecord | None, done: int) -> None:
        if claim is not None:
            record = self.do(self.store.progress(claim, done=done, total=5, note="", announce=True))
            assert (record is not None) == self._holds(claim)

    @rule(claim=claims, way=st.sampled_from(["succeed", "fail", "cancel_running", "retry", "hand_back"]))
    def leave(self, claim: JobRecord | None, way: str) -> None:
        if claim is None:
            return
        leaving: Callable[[], Coroutine[Any, Any, bool]] = {
            "succeed": lambda: self.store.succeed(claim),
            "fail": lambda: self.store.fail(claim, reason="X", message=""),
            "cancel_running": lambda: self.store.cancel_running(claim),
            "retry": lambda: self.store.retry(claim, after=timedelta(0), reason="X", message=""),
            "hand_back": lambda: self.store.hand_back(claim),
        }[way]
        assert self.do(leaving()) == self._holds(claim)
        if self._holds(claim):
            job = self.model[claim.id]
            ends = {"succeed": "SUCCEEDED", "fail": "FAILED", "cancel_running": "CANCELLED"}
            job.state, job.is_expired = ends.get(way, "QUEUED"), False
            job.endings += way in ends

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        alive = [key for key, job in self.model.items() if job.state in ("QUEUED", "RUNNING")]
        if not alive:
            return
        chosen = data.draw(st.sampled_from(alive))

        async def work() -> JobRecord:
            async with self.acquire.as_organization(self.organization_id, Actor("", "")) as unit:
                return await cancel(unit, chosen, service="shop")

        job, record = self.model[chosen], self.do(work())
        if job.state == "QUEUED":
            job.state, job.endings = "CANCELLED", 1
        else:
            job.cancel_requested = True
        assert record.state == job.state

    @invariant()
    def rows_are_as_they_should_be(self) -> None:
        assert self.do(self._rows()) == {
            key: (job.state, job.epoch, int(job.state in ("SUCCEEDED", "FAILED", "CANCELLED")))
            for key, job in self.model.items()
        }
        assert all(job.endings <= 1 for job in self.model.values())

    async def _rows(self) -> dict[Any, tuple[str, int, int]]:
        query = text("SELECT id, state, epoch, (end_time IS NOT NULL)::int FROM jobs WHERE kind = :kind")
        async with self.acquire.machinery() as unit:
            rows = (await unit.session.execute(query, {"kind": self.kind})).all()
        return {row[0]: (row[1], row[2], row[3]) for row in rows}

    def _holds(self, claim: JobRecord) -> bool:
        job = self.model[claim.id]
        return job.state == "RUNNING" and job.epoch == claim.epoch


@dataclass
class ModelKey:
    """What a key should be."""

    request: bytes | None = None
    reply: str | None = None
    pending: list[CallContext] = field(default_factory=list)
    is_stale: bool = False


class Keys(OnPostgres):
    """Calls with few keys and requests, some of which die half-way."""

    def __init__(self) -> None:
        super().__init__()
        self.caller = Caller("key_1", "api_key", organization_id=new_id(), principal_id=new_id())
        self.replies = StoredReplies(self.database)
        self.model: dict[str, ModelKey] = {key: ModelKey() for key in "ab"}
        self.effects = 0
        self.calls = 0

    @rule(key=st.sampled_from("ab"), request=st.sampled_from([b"r", b"s"]))
    def call(self, key: str, request: bytes) -> None:
        self.calls += 1
        outcome = self._attempt(key, request, f"reply {self.calls}")
        expected = self._expected(key, request, f"reply {self.calls}")
        assert outcome == expected

    @rule(key=st.sampled_from("ab"), request=st.sampled_from([b"r", b"s"]))
    def call_that_fails(self, key: str, request: bytes) -> None:
        blocked = self._blocked(key, request)
        assert self.do(self._fail(self._context(key, request))) == (blocked or "failed")

    @rule(key=st.sampled_from("ab"), request=st.sampled_from([b"r", b"s"]))
    def call_that_pauses_between_two_units(self, key: str, request: bytes) -> None:
        blocked = self._blocked(key, request)
        context = self._context(key, request)

        async def first_unit() -> str | None:
            try:
                with answering(context):
                    async with self.acquire():
                        return None
            except (IdempotencyKeyBusy, IdempotencyKeyReused, IdempotentReplay) as error:
                return _name(error)

        assert self.do(first_unit()) == blocked
        if blocked is None:
            self.model[key] = ModelKey(request=request, pending=[context])

    @rule(key=st.sampled_from("ab"))
    def paused_call_ends(self, key: str) -> None:
        model = self.model[key]
        if not model.pending or model.is_stale:
            return
        context = model.pending.pop()
        self.calls += 1
        reply = f"reply {self.calls}"

        async def second_unit() -> None:
            with answering(context):
                async with self.acquire() as work:
                    work.articles.add(Article(id=work.new_id(), name=reply))
            await self.replies.store(context, Job(id=reply))

        self.do(second_unit())
        self.effects += 1
        self.model[key] = ModelKey(request=model.request, reply=reply)

    @rule(key=st.sampled_from("ab"))
    def paused_call_fails(self, key: str) -> None:
        model = self.model[key]
        if model.pending and not model.is_stale:
            self.do(self.replies.release(model.pending.pop()))
            self.model[key] = ModelKey()

    @rule(key=st.sampled_from("ab"))
    def process_of_the_paused_call_dies(self, key: str) -> None:
        if self.model[key].pending:
            self.do(self._age("reserve_time"))
            for model in self.model.values():
                model.is_stale = model.is_stale or bool(model.pending)

    @rule()
    def a_day_passes(self) -> None:
        self.do(self._age("expire_time"))
        self.model = {key: ModelKey() for key in "ab"}

    @invariant()
    def no_effect_is_doubled_or_lost(self) -> None:
        assert self.do(self._count()) == self.effects

    def _blocked(self, key: str, request: bytes) -> str | None:
        model = self.model[key]
        if model.request is None:
            return None
        if model.request != request:
            return "IdempotencyKeyReused"
        if model.reply is not None:
            return f"replay of {model.reply}"
        return None if model.is_stale else "IdempotencyKeyBusy"

    def _expected(self, key: str, request: bytes, reply: str) -> str:
        blocked = self._blocked(key, request)
        if blocked is not None:
            return blocked
        self.model[key] = ModelKey(request=request, reply=reply)
        self.effects += 1
        return reply

    def _attempt(self, key: str, request: bytes, reply: str) -> str:
        async def work() -> str:
            try:
                with answering(self._context(key, request)):
                    async with self.acquire() as unit:
                        unit.articles.add(Article(id=unit.new_id(), name=reply))
                        return unit.reply(Job(id=reply)).id
            except (IdempotencyKeyBusy, IdempotencyKeyReused, IdempotentReplay) as error:
                return _name(error)

        return str(self.do(work()))

    async def _fail(self, call: CallContext) -> str:
        try:
            with answering(call):
                async with self.acquire() as unit:
                    unit.articles.add(Article(id=unit.new_id(), name="ghost"))
                    await unit.session.flush()
                    raise RuntimeError
        except RuntimeError:
            return "failed"
        except (IdempotencyKeyBusy, IdempotencyKeyReused, IdempotentReplay) as error:
            return _name(error)

    def _context(self, key: str, request: bytes) -> CallContext:
        return CallContext(caller=self.caller, idempotency=Idempotency(key, "M", request))

    async def _age(self, column: str) -> None:
        async with self.acquire.machinery() as unit:
            query = text(f"UPDATE idempotency SET {column} = {column} - interval '25 hours' WHERE organization_id = :o")
            await unit.session.execute(query, {"o": self.caller.organization_id})

    async def _count(self) -> int:
        async with self.acquire.as_organization(self.caller.organization_id, Actor("", "")) as unit:
            return len(await unit.articles.all())


def _name(error: Exception) -> str:
    if isinstance(error, IdempotentReplay):
        assert isinstance(error.reply, Job)
        return f"replay of {error.reply.id}"
    return type(error).__name__


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Leases, Keys])
def test_holds_in_every_order(machine: type[OnPostgres], shop_settings: ShopSettings) -> None:
    OnPostgres.shop_settings = shop_settings
    run_state_machine_as_test(machine, settings=PACE)
