"""Watching a run: what its journal holds, then what happens, on whichever replica the watcher is."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from uuid import UUID

from agent.application.runs import viewer_of
from agent.domain import journal, states
from agent.domain.errors import RunNotFound
from agent.domain.ports import JournalEvent, Tail
from agent.unit_of_work import AgentUnitOfWork
from chassis.data.unit_of_work import Acquire

PAGE = 500
# Announcements may be lost, or all be missing while the broker is away: then the table is read this often.
POLL = timedelta(milliseconds=250)
# While announcements arrive, the table is only asked in case one was lost.
QUIET_POLL = timedelta(seconds=2)


class WatchRun:
    """Streams a run's events."""

    def __init__(self, acquire: Acquire[AgentUnitOfWork], tail: Tail) -> None:
        self._acquire = acquire
        self._tail = tail

    async def __call__(self, run_id: UUID, *, after: int) -> AsyncGenerator[JournalEvent, None]:
        """Yield the events after `after` in order and without gaps, until one that ends a connection.

        A run that has ended and has nothing after `after` gives nothing. Raises RunNotFound.
        """
        await self._check(run_id)
        async with self._tail.watch(run_id) as announcements:
            events, has_ended = await self._read(run_id, after)
            while True:
                for event in events:
                    yield event
                    after = event.seq
                    if event.type in journal.LAST_WORDS:
                        return
                if has_ended:
                    return
                announced: Sequence[JournalEvent] = ()
                if len(events) < PAGE:
                    announced = await announcements.next(within=QUIET_POLL if announcements.is_live else POLL)
                events, has_ended = _following(announced, after), False
                if not events:
                    events, has_ended = await self._read(run_id, after)

    async def _check(self, run_id: UUID) -> None:
        async with self._acquire() as work:
            if await work.runs.seen(run_id, viewer_of(work)) is None:
                raise RunNotFound

    async def _read(self, run_id: UUID, after: int) -> tuple[Sequence[JournalEvent], bool]:
        """Return recorded events after `after`, and whether there are none and none will come."""
        async with self._acquire() as work:
            events = await work.run_events.after(run_id, after, limit=PAGE)
            if events:
                return events, False
            run = await work.runs.get(run_id)
            if run is None or run.state not in states.TERMINAL:
                return events, run is None
            # The run may have ended between the two statements.
            events = await work.run_events.after(run_id, after, limit=PAGE)
            return events, not events


def _following(announced: Sequence[JournalEvent], after: int) -> Sequence[JournalEvent]:
    """Return the announced events that follow `after` directly; none when some before them are missing."""
    later = [event for event in announced if event.seq > after]
    return later if later and later[0].seq == after + 1 else ()
