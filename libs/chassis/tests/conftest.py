"""The shop on the session's servers, and callers who shop there."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from shop.settings import ShopSettings
from shop.unit_of_work import ShopUnitOfWork

from chassis.data.database import Database
from chassis.data.unit_of_work import Acquire
from chassis.ids import USER, new_id
from chassis.messaging.broker import Broker
from chassis.rpc.caller import Actor
from chassis.settings import NatsSettings
from chassis.testing.databases import make_database
from chassis.testing.servers import database_settings, nats_settings

pytest_plugins = ["chassis.testing.plugin"]


@pytest.fixture(scope="session")
async def shop_settings() -> ShopSettings:
    settings = ShopSettings(database=database_settings())
    await make_database(settings)
    return settings


@pytest.fixture(scope="session")
async def database(shop_settings: ShopSettings) -> AsyncIterator[Database]:
    database = Database(shop_settings.database, service="shop")
    yield database
    await database.close()


@pytest.fixture
async def fresh_database() -> AsyncIterator[Database]:
    """A database of its own, for tests that count all rows."""
    settings = ShopSettings(database=database_settings())
    await make_database(settings)
    database = Database(settings.database, service="shop")
    yield database
    await database.close()


@pytest.fixture(scope="session")
def acquire(database: Database) -> Acquire[ShopUnitOfWork]:
    return ShopUnitOfWork.factory(database)


@pytest.fixture
def actor() -> Actor:
    user_id = new_id()
    return Actor(USER.show(user_id), "user", user_id)


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    broker = Broker(nats_settings(), name="test")
    yield broker
    await broker.close()


@pytest.fixture
async def no_broker() -> Broker:
    return Broker(NatsSettings(), name="test")
