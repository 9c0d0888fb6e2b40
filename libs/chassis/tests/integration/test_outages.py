"""Postgres goes away and comes back."""

import asyncio
from typing import ClassVar

from shop.models import Article
from shop.unit_of_work import ShopUnitOfWork
from sqlalchemy import text

from chassis.data.database import Database
from chassis.data.unit_of_work import Acquire
from chassis.ids import new_id
from chassis.messaging.broker import Broker
from chassis.messaging.jobs import JobPolicy, JobWorkers, RunningJob
from chassis.messaging.relay import Relay
from chassis.rpc.caller import Actor
from chassis.testing.refusals import refused
from chassis.testing.servers import SERVERS
from chassis.testing.waiting import eventually

Shop = Acquire[ShopUnitOfWork]


class Quick:
    kind: ClassVar[str] = "quick"
    policy: ClassVar[JobPolicy] = JobPolicy()

    async def run(self, job: RunningJob) -> None:
        return None


async def add(acquire: Shop) -> None:
    async with acquire.as_organization(new_id(), Actor("", "")) as work:
        work.articles.add(Article(id=work.new_id(), name="x"))


async def succeeds(acquire: Shop) -> bool:
    try:
        with refused("DEPENDENCY_UNAVAILABLE"):
            await add(acquire)
    except AssertionError:
        return True
    return False


async def test_everything_goes_on_after_postgres_was_away(fresh_database: Database, broker: Broker) -> None:
    acquire = ShopUnitOfWork.factory(fresh_database)
    stop = asyncio.Event()
    loops: list[Relay | JobWorkers] = [Relay(fresh_database, broker), JobWorkers(fresh_database, broker, [Quick()])]
    tasks = [asyncio.create_task(loop.run(stop)) for loop in loops]
    try:
        await add(acquire)
        SERVERS.postgres.kill()
        try:
            for _ in range(3):
                with refused("DEPENDENCY_UNAVAILABLE"):
                    await add(acquire)
                with refused("DEPENDENCY_UNAVAILABLE"):
                    await fresh_database.ping()
        finally:
            SERVERS.postgres.start()
        await eventually(lambda: succeeds(acquire), timeout=10)
        async with acquire.as_organization(new_id(), Actor("", "")) as work:
            job_id = work.jobs.enqueue("quick", {})

        await eventually(lambda: _is_done(acquire, job_id), timeout=10)
        await eventually(lambda: _all_sent(acquire), timeout=10)
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)


async def _is_done(acquire: Shop, id: object) -> bool:
    async with acquire.machinery() as work:
        query = text("SELECT state = 'SUCCEEDED' FROM jobs WHERE id = :id")
        return bool(await work.session.scalar(query, {"id": id}))


async def _all_sent(acquire: Shop) -> bool:
    async with acquire.machinery() as work:
        return bool(await work.session.scalar(text("SELECT count(*) = 0 FROM outbox WHERE sent_at IS NULL")))
