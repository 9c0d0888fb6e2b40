"""What /metrics says of events and jobs."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from prometheus_client import Counter, Gauge
from sqlalchemy import text

from chassis.data.database import Database, unavailable_as_error
from chassis.errors import DependencyUnavailable
from chassis.telemetry import registry

MEASURE_SECONDS = 10.0

published = Counter("fleet_events_published", "Events the broker acknowledged.", ["service"], registry=registry)
deliveries = Counter(
    "fleet_deliveries", "Deliveries of events, by outcome.", ["service", "consumer", "outcome"], registry=registry
)
attempts = Counter(
    "fleet_job_attempts", "Attempts of jobs, by outcome.", ["service", "kind", "outcome"], registry=registry
)
outbox_lag_seconds = Gauge(
    "fleet_outbox_lag_seconds", "Age of the oldest event that waits to be published.", ["service"], registry=registry
)
jobs_waiting = Gauge("fleet_jobs_waiting", "Jobs that are due and wait for a worker.", ["service"], registry=registry)
dead_letters = Gauge("fleet_dead_letters", "Deliveries given up and not redriven.", ["service"], registry=registry)

_QUERY = text(
    "SELECT (SELECT coalesce(extract(epoch FROM now() - min(time)), 0) FROM outbox WHERE sent_at IS NULL), "
    "(SELECT count(*) FROM jobs WHERE state = 'QUEUED' AND run_after <= now()), "
    "(SELECT count(*) FROM dead_letters WHERE redrive_time IS NULL)"
)


async def measure(database: Database) -> None:
    """Keep the gauges of a service true until cancelled."""
    while True:
        # Readiness says when the database is away; the gauges keep their last values meanwhile.
        with suppress(DependencyUnavailable):
            await measure_once(database)
        await asyncio.sleep(MEASURE_SECONDS)


async def measure_once(database: Database) -> None:
    """Read how much waits, and set the gauges."""
    async with unavailable_as_error(), database.machinery.connect() as connection:
        lag, waiting, dead = (await connection.execute(_QUERY)).one()
    outbox_lag_seconds.labels(database.service).set(float(lag))
    jobs_waiting.labels(database.service).set(waiting)
    dead_letters.labels(database.service).set(dead)
