"""Jobs: leased, kept alive, fenced, tried again, cancelled."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from shop.models import Article
from shop.unit_of_work import ShopUnitOfWork
from sqlalchemy import text

from chassis.data.database import Database
from chassis.data.unit_of_work import Acquire
from chassis.errors import DependencyUnavailable, InvalidArgument
from chassis.ids import job_id as id_kind
from chassis.ids import new_id
from chassis.messaging.broker import Broker
from chassis.messaging.job_servicer import cancel
from chassis.messaging.job_store import JobRecord, JobStore
from chassis.messaging.jobs import JobFenced, JobPolicy, JobWorkers, RunningJob
from chassis.messaging.reaper import Reaper
from chassis.messaging.relay import Relay
from chassis.rpc.caller import Actor
from chassis.testing.outbox import OutboxReader
from chassis.testing.waiting import eventually
from definable.jobs.v1.events_pb2 import JobFinished, JobProgressed, JobQueued
from definable.jobs.v1.job_service_pb2 import JobState

Shop = Acquire[ShopUnitOfWork]
NOBODY = Actor("", "")
HALF_SECOND = timedelta(seconds=0.5)


@pytest.fixture
async def shop(fresh_database: Database) -> Shop:
    return ShopUnitOfWork.factory(fresh_database)


@pytest.fixture
def store(shop: Shop) -> JobStore:
    return JobStore(shop.database)


class Work:
    """A kind of job whose attempts do what the test says."""

    kind: ClassVar[str] = "work"
    policy: ClassVar[JobPolicy] = JobPolicy(
        max_attempts=3, backoff=timedelta(milliseconds=10), lease=timedelta(seconds=1), concurrency=3
    )

    def __init__(self, *outcomes: Exception | None, seconds: float = 0) -> None:
        self.outcomes = list(outcomes)
        self.seconds = seconds
        self.attempts: list[RunningJob] = []
        self.given_up: list[Exception] = []
        self.running = 0
        self.most_running = 0

    async def run(self, job: RunningJob) -> None:
        self.attempts.append(job)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome

    async def failed(self, job: RunningJob, error: Exception) -> None:
        self.given_up.append(error)


async def enqueue(acquire: Shop, actor: Actor = NOBODY, *, job_id: UUID | None = None) -> UUID:
    async with acquire.as_organization(new_id(), actor) as work:
        return work.jobs.enqueue("work", {"n": 1}, target="thing", job_id=job_id)


async def row_of(acquire: Shop, job_id: UUID) -> Any:
    async with acquire.machinery() as work:
        return (await work.session.execute(text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id})).one()


async def is_in(acquire: Shop, job_id: UUID, state: str) -> bool:
    return bool((await row_of(acquire, job_id)).state == state)


@asynccontextmanager
async def working(acquire: Shop, *jobs: Work, broker: Broker) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(JobWorkers(acquire.database, broker, jobs).run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


class TestEnqueue:
    async def test_commits_with_its_unit_or_not_at_all(self, shop: Shop, actor: Actor) -> None:
        with pytest.raises(RuntimeError):  # noqa: PT012 – the block is the unit of work
            async with shop.as_organization(new_id(), actor) as work:
                work.jobs.enqueue("work", {})
                raise RuntimeError

        async with shop.machinery() as work:
            assert await work.session.scalar(text("SELECT count(*) FROM jobs")) == 0

    async def test_of_an_id_that_exists_changes_nothing(self, shop: Shop) -> None:
        job_id = new_id()
        await enqueue(shop, job_id=job_id)
        await enqueue(shop, job_id=job_id)

        assert len(await OutboxReader(shop.database).all(JobQueued)) == 1

    async def test_is_closed_to_other_organizations(self, shop: Shop, actor: Actor) -> None:
        await enqueue(shop)
        async with shop.as_organization(new_id(), actor) as work:
            assert await work.session.scalar(text("SELECT count(*) FROM jobs")) == 0


class TestWorkers:
    async def test_run_a_job_as_its_actor(self, shop: Shop, actor: Actor, no_broker: Broker) -> None:
        job = Work()
        job_id = await enqueue(shop, actor)
        async with working(shop, job, broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "SUCCEEDED"))

        (attempt,) = job.attempts
        assert (attempt.actor, attempt.payload, attempt.target, attempt.attempt) == (actor, {"n": 1}, "thing", 1)
        row = await row_of(shop, job_id)
        assert row.payload == {}
        assert row.end_time >= row.start_time >= row.create_time
        finished = await OutboxReader(shop.database).last(JobFinished)
        assert finished.job_id == id_kind("shop").show(job_id)
        assert finished.state == JobState.JOB_STATE_SUCCEEDED

    async def test_do_not_run_a_job_before_its_time(self, shop: Shop, no_broker: Broker) -> None:
        async with shop.as_organization(new_id(), Actor("", "")) as work:
            later = work.jobs.enqueue("work", {}, run_after=work.now() + timedelta(seconds=1.5))
        now = await enqueue(shop)
        job = Work()
        async with working(shop, job, broker=no_broker):
            await eventually(lambda: is_in(shop, now, "SUCCEEDED"))
            assert await is_in(shop, later, "QUEUED")
            await eventually(lambda: is_in(shop, later, "SUCCEEDED"))

    async def test_run_no_more_at_a_time_than_the_kind_allows(self, shop: Shop, no_broker: Broker) -> None:
        job = Work(seconds=0.1)
        ids = [await enqueue(shop) for _ in range(8)]
        async with working(shop, job, broker=no_broker):
            for job_id in ids:
                await eventually(partial(is_in, shop, job_id, "SUCCEEDED"))
        assert job.most_running == 3
        assert len(job.attempts) == 8

    async def test_share_the_jobs_between_processes(self, shop: Shop, no_broker: Broker) -> None:
        first, second = Work(seconds=0.02), Work(seconds=0.02)
        ids = [await enqueue(shop) for _ in range(20)]
        async with working(shop, first, broker=no_broker), working(shop, second, broker=no_broker):
            for job_id in ids:
                await eventually(partial(is_in, shop, job_id, "SUCCEEDED"))
        assert sorted(job.id for job in first.attempts + second.attempts) == sorted(ids)

    async def test_try_again_after_a_failure(self, shop: Shop, no_broker: Broker) -> None:
        job = Work(RuntimeError("secret detail"), None)
        job_id = await enqueue(shop)
        async with working(shop, job, broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "SUCCEEDED"))
        assert [attempt.attempt for attempt in job.attempts] == [1, 2]
        progressed = await OutboxReader(shop.database).last(JobProgressed)
        assert progressed.state == JobState.JOB_STATE_QUEUED

    async def test_give_up_after_the_last_attempt(self, shop: Shop, no_broker: Broker) -> None:
        job = Work(*[RuntimeError("secret detail")] * 3)
        job_id = await enqueue(shop)
        async with working(shop, job, broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "FAILED"))
        row = await row_of(shop, job_id)
        assert (row.attempt, row.error_reason, row.error_message) == (3, "INTERNAL", "")
        assert len(job.given_up) == 1
        assert (await OutboxReader(shop.database).last(JobFinished)).error_reason == "INTERNAL"

    async def test_give_up_at_once_when_trying_again_is_no_use(self, shop: Shop, no_broker: Broker) -> None:
        job = Work(InvalidArgument("the file is empty"))
        job_id = await enqueue(shop)
        async with working(shop, job, broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "FAILED"))
        row = await row_of(shop, job_id)
        assert (row.attempt, row.error_reason, row.error_message) == (1, "VALIDATION_FAILED", "the file is empty")

    async def test_wait_for_a_dependency_beyond_the_attempts(self, shop: Shop, no_broker: Broker) -> None:
        outage = DependencyUnavailable(dependency="auth", retry_after=timedelta(milliseconds=1))
        job = Work(*[outage] * 5, None)
        job_id = await enqueue(shop)
        async with working(shop, job, broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "SUCCEEDED"), timeout=20)
        assert len(job.attempts) == 6

    async def test_keep_the_lease_of_a_long_job(self, shop: Shop, no_broker: Broker) -> None:
        job, other = Work(seconds=2.5), Work()
        job_id = await enqueue(shop)
        async with working(shop, job, broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "RUNNING"))
            async with working(shop, other, broker=no_broker):
                await eventually(lambda: is_in(shop, job_id, "SUCCEEDED"))
        assert (len(job.attempts), len(other.attempts)) == (1, 0)

    async def test_hand_a_job_back_when_they_stop(self, shop: Shop, no_broker: Broker) -> None:
        job_id = await enqueue(shop)
        async with working(shop, Work(seconds=60), broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "RUNNING"))
        row = await row_of(shop, job_id)
        assert (row.state, row.attempt) == ("QUEUED", 0)

        async with working(shop, Work(), broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "SUCCEEDED"))

    async def test_end_an_attempt_that_takes_too_long(self, shop: Shop, no_broker: Broker) -> None:
        class Slow(Work):
            policy: ClassVar[JobPolicy] = JobPolicy(max_attempts=1, timeout=timedelta(milliseconds=50))

        job_id = await enqueue(shop)
        async with working(shop, Slow(seconds=60), broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "FAILED"))
        assert (await row_of(shop, job_id)).error_reason == "DEADLINE_EXCEEDED"

    async def test_are_woken_by_the_broker(self, shop: Shop, broker: Broker) -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        relaying = asyncio.create_task(Relay(shop.database, broker).run(stop))
        delays = []
        async with working(shop, Work(), broker=broker):
            for _ in range(6):
                started = loop.time()
                job_id = await enqueue(shop)
                await eventually(partial(is_in, shop, job_id, "SUCCEEDED"), every=0.005)
                delays.append(loop.time() - started)
        stop.set()
        await relaying
        assert sorted(delays)[3] < 0.5  # the poll alone would take a second

    async def test_take_over_from_a_process_that_was_killed(
        self, shop: Shop, no_broker: Broker, tmp_path: Path
    ) -> None:
        job_id = await enqueue(shop)
        process = _start_worker(shop)
        try:
            await eventually(lambda: is_in(shop, job_id, "RUNNING"), timeout=60)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        assert (await row_of(shop, job_id)).epoch == 1

        job = Work()
        async with working(shop, job, broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "SUCCEEDED"))
        (attempt,) = job.attempts
        assert (attempt.attempt, attempt.epoch) == (2, 2)

    async def test_give_up_a_job_that_kills_its_workers(self, shop: Shop, store: JobStore, no_broker: Broker) -> None:
        job_id = await enqueue(shop)
        for _ in range(3):
            await _claimed_by_a_worker_that_dies(shop, store)

        async with working(shop, Work(), broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "FAILED"))
        assert (await row_of(shop, job_id)).error_reason == "WORKER_LOST"


class TestCancel:
    async def cancel(self, acquire: Shop, job_id: UUID) -> JobRecord:
        organization_id = (await row_of(acquire, job_id)).organization_id
        async with acquire.as_organization(organization_id, Actor("", "")) as work:
            return await cancel(work, job_id, service="shop")

    async def test_ends_a_job_that_waits(self, shop: Shop) -> None:
        job_id = await enqueue(shop)
        assert (await self.cancel(shop, job_id)).state == "CANCELLED"
        assert (await row_of(shop, job_id)).payload == {}
        finished = await OutboxReader(shop.database).last(JobFinished)
        assert finished.state == JobState.JOB_STATE_CANCELLED

    async def test_stops_a_job_that_runs_at_its_next_progress(self, shop: Shop, no_broker: Broker) -> None:
        class Long(Work):
            async def run(self, job: RunningJob) -> None:
                while True:
                    await job.progress(1, 10)
                    await asyncio.sleep(0.02)

        job_id = await enqueue(shop)
        async with working(shop, Long(), broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "RUNNING"))
            await self.cancel(shop, job_id)
            await eventually(lambda: is_in(shop, job_id, "CANCELLED"), timeout=2)


class TestFencing:
    async def test_a_worker_whose_lease_was_taken_over_changes_nothing(self, shop: Shop, store: JobStore) -> None:
        await enqueue(shop)
        old = await _claimed_by_a_worker_that_dies(shop, store)
        (new,) = await store.claim("work", limit=1, lease=HALF_SECOND)

        assert not (await store.heartbeat(old, lease=HALF_SECOND)).is_ours
        assert await store.progress(old, done=9, total=9, note="", announce=True) is None
        assert not await store.succeed(old)
        assert not await store.fail(old, reason="X", message="")
        assert not await store.retry(old, after=HALF_SECOND, reason="X", message="")
        assert not await store.hand_back(old)
        assert not await store.cancel_running(old)
        assert (await row_of(shop, old.id)).progress_done == 0
        assert await store.succeed(new)
        assert not await store.succeed(new)

    async def test_holds_the_job_for_an_effect(self, shop: Shop, store: JobStore) -> None:
        await enqueue(shop)
        old = await _claimed_by_a_worker_that_dies(shop, store)
        (new,) = await store.claim("work", limit=1, lease=HALF_SECOND)

        async with shop.as_organization(new.organization_id, new.actor) as work:
            await RunningJob(new, store).fence(work)
            work.articles.add(Article(id=new_id(), name="effect"))
        with pytest.raises(JobFenced):  # noqa: PT012 – the block is the unit of work
            async with shop.as_organization(old.organization_id, old.actor) as work:
                await RunningJob(old, store).fence(work)
                work.articles.add(Article(id=new_id(), name="second effect"))

        async with shop.as_organization(new.organization_id, new.actor) as work:
            assert [article.name for article in await work.articles.all()] == ["effect"]

    async def test_stops_the_code_of_a_worker_that_lost_its_lease(
        self, shop: Shop, store: JobStore, no_broker: Broker
    ) -> None:
        job_id, job = await enqueue(shop), Work(seconds=60)
        async with working(shop, job, broker=no_broker):
            await eventually(lambda: is_in(shop, job_id, "RUNNING"))
            async with shop.machinery() as work:
                await work.session.execute(text("UPDATE jobs SET epoch = epoch + 1"))
            await eventually(lambda: _idle(job), timeout=3)
            assert await is_in(shop, job_id, "RUNNING")


class TestReaper:
    async def test_deletes_jobs_that_ended_a_month_ago(self, shop: Shop, store: JobStore) -> None:
        old, young = await enqueue(shop), await enqueue(shop)
        for job in await store.claim("work", limit=2, lease=HALF_SECOND):
            await store.succeed(job)
        async with shop.machinery() as work:
            await work.session.execute(
                text("UPDATE jobs SET end_time = end_time - interval '31 days' WHERE id = :id"), {"id": old}
            )

        assert (await Reaper(shop.database).reap())["jobs"] == 1
        assert (await row_of(shop, young)).state == "SUCCEEDED"


async def _claimed_by_a_worker_that_dies(acquire: Shop, store: JobStore) -> JobRecord:
    (job,) = await store.claim("work", limit=1, lease=HALF_SECOND)
    async with acquire.machinery() as work:
        await work.session.execute(text("UPDATE jobs SET lease_until = now() - interval '1 second'"))
    return job


async def _idle(job: Work) -> bool:
    return job.running == 0


def _start_worker(acquire: Shop) -> subprocess.Popen[bytes]:
    """A process that takes the job and works on it for ever."""
    settings = acquire.database.settings
    code = f"""
import asyncio
from datetime import timedelta
from functools import partial
from chassis.data.database import Database
from chassis.messaging.broker import Broker
from chassis.messaging.jobs import JobPolicy, JobWorkers
from chassis.settings import DatabaseSettings, NatsSettings

class Forever:
    kind = "work"
    policy = JobPolicy(lease=timedelta(seconds=1))
    async def run(self, job):
        await asyncio.sleep(3600)

async def main():
    password = {settings.app_password.get_secret_value()!r}
    settings = DatabaseSettings(host={settings.host!r}, port={settings.port}, name={settings.name!r},
        app_password=password, machinery_password=password)
    database = Database(settings, service="shop")
    await JobWorkers(database, Broker(NatsSettings(), name="x"), [Forever()]).run(asyncio.Event())

asyncio.run(main())
"""
    return subprocess.Popen([sys.executable, "-c", code])
