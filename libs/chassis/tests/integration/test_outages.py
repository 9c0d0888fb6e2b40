"""Postgres goes away and comes back."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from shop.models import Article
from shop.settings import ShopSettings
from shop.unit_of_work import ShopUnitOfWork
from sqlalchemy import text

from chassis.data import migrations
from chassis.data.database import Database
from chassis.data.unit_of_work import Acquire
from chassis.ids import new_id
from chassis.messaging.broker import Broker
from chassis.messaging.jobs import JobPolicy, JobWorkers, RunningJob
from chassis.messaging.relay import Relay
from chassis.rpc.caller import Actor
from chassis.servers import EmbeddedPostgres
from chassis.testing.refusals import refused
from chassis.testing.servers import database_settings
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


@pytest.fixture
def mortal_postgres() -> Iterator[EmbeddedPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="definable-mortal-"))
    server = EmbeddedPostgres(folder, durable=False).start()
    yield server
    server.kill()
    shutil.rmtree(folder)


async def test_everything_goes_on_after_postgres_was_away(mortal_postgres: EmbeddedPostgres, broker: Broker) -> None:
    settings = ShopSettings(database=database_settings(server=mortal_postgres))
    await migrations.bootstrap(settings)
    await migrations.run(settings)
    database = Database(settings.database, service="shop")
    acquire = ShopUnitOfWork.factory(database)
    stop = asyncio.Event()
    loops: list[Relay | JobWorkers] = [Relay(database, broker), JobWorkers(database, broker, [Quick()])]
    tasks = [asyncio.create_task(loop.run(stop)) for loop in loops]
    try:
        await add(acquire)
        mortal_postgres.kill()
        try:
            for _ in range(3):
                with refused("DEPENDENCY_UNAVAILABLE"):
                    await add(acquire)
                with refused("DEPENDENCY_UNAVAILABLE"):
                    await database.ping()
        finally:
            mortal_postgres.start()
        await eventually(lambda: succeeds(acquire), timeout=10)
        async with acquire.as_organization(new_id(), Actor("", "")) as work:
            job_id = work.jobs.enqueue("quick", {})

        await eventually(lambda: _is_done(acquire, job_id), timeout=10)
        await eventually(lambda: _all_sent(acquire), timeout=10)
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
        await database.close()


async def _is_done(acquire: Shop, id: object) -> bool:
    async with acquire.machinery() as work:
        query = text("SELECT state = 'SUCCEEDED' FROM jobs WHERE id = :id")
        return bool(await work.session.scalar(query, {"id": id}))


async def _all_sent(acquire: Shop) -> bool:
    async with acquire.machinery() as work:
        return bool(await work.session.scalar(text("SELECT count(*) = 0 FROM outbox WHERE sent_at IS NULL")))
