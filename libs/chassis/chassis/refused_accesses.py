"""Writes down refused accesses: once a second, one record for each organization that had any."""

import asyncio
from collections import Counter
from contextlib import suppress
from uuid import UUID

from chassis import telemetry
from chassis.data.unit_of_work import Acquire, UnitOfWork
from chassis.errors import FleetError
from chassis.rpc.caller import Actor
from chassis.rpc.refusals import Refusal, Refusals
from definable.options.v1.events_pb2 import AccessRefused, RefusedAccess

EVERY = 1.0
MOST_LISTED = 100
"""Kinds of refusals listed in a record, the most frequent ones; the record's total counts all."""

log = telemetry.get_logger(__name__)


class RefusedAccessRecorder:
    """Turns what the interceptor counted into events. Those without an organization are only in the metrics."""

    def __init__(self, refusals: Refusals, acquire: Acquire[UnitOfWork]) -> None:
        self._refusals = refusals
        self._acquire = acquire

    async def run(self, stop: asyncio.Event) -> None:
        """Flush each second until `stop`, and a last time then."""
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await stop.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write down what was counted since the last time."""
        by_organization: dict[UUID, Counter[Refusal]] = {}
        for refusal, number in self._refusals.take().items():
            if refusal.organization_id is not None:
                by_organization.setdefault(refusal.organization_id, Counter())[refusal] = number
        for organization_id, counts in by_organization.items():
            try:
                await self._record(organization_id, counts)
            except FleetError as error:
                log.info("refused_accesses_kept", reason=error.reason)
                self._refusals.put_back(counts)

    async def _record(self, organization_id: UUID, counts: Counter[Refusal]) -> None:
        actors = {refusal.actor for refusal in counts}
        event = AccessRefused(
            total=counts.total(),
            refusals=[_listed(refusal, number) for refusal, number in counts.most_common(MOST_LISTED)],
        )
        # In the name of whoever was refused, when that was one; of nobody when there were several.
        actor = next(iter(actors)) if len(actors) == 1 else Actor("", "")
        async with self._acquire.as_organization(organization_id, actor) as work:
            work.outbox.add(event)


def _listed(refusal: Refusal, number: int) -> RefusedAccess:
    return RefusedAccess(
        subject=refusal.actor.subject,
        method=refusal.method,
        permission=refusal.permission,
        reason=refusal.reason,
        client_address=refusal.client_address,
        count=number,
    )
