"""The feed: one order for each organization, without gaps, whatever is delivered twice, at once or in disorder."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from chassis.errors import FleetError
from chassis.messaging.consumers import handle
from chassis.messaging.events import Delivery
from chassis.testing import refused
from definable.agent.v1.events_pb2 import RunEnded, RunUsageRecorded
from definable.jobs.v1.events_pb2 import JobFinished, JobProgressed, JobQueued
from definable.jobs.v1.job_service_pb2 import JobState
from definable.kb.v1.events_pb2 import DocumentAccepted, EmbeddingUsageRecorded
from definable.options.v1.options_pb2 import Rank
from definable.org.v1.audit_service_pb2 import ListAuditEntriesRequest
from definable.org.v1.event_service_pb2 import FeedEvent, ListEventsRequest, WatchEventsRequest
from definable.org.v1.job_list_service_pb2 import ListJobsRequest
from definable.org.v1.usage_service_pb2 import ListUsageRequest, UsageDimension
from org.jobs import Upkeep

from .running import Home, Org, a_job_id, a_timestamp, an_event, found  # noqa: TID252


async def record(org: Org, deliveries: Sequence[Delivery]) -> None:
    """Deliver all at once, as many streams and replicas would."""
    await asyncio.gather(*(handle(org.recorder, delivery) for delivery in deliveries))


async def sequences(org: Org, home: Home) -> list[int]:
    rows = await org.rows(
        "SELECT sequence FROM org.feed_entries WHERE organization_id = $1 ORDER BY sequence", home.organization_id
    )
    return [row[0] for row in rows]


class TestRecording:
    async def test_leaves_no_gap_and_no_double_under_concurrency(self, org: Org) -> None:
        home, other = await found(org), await found(org)
        events = [an_event(place, DocumentAccepted(), service="kb") for place in (home, other) for _ in range(40)]
        deliveries = [delivery for delivery in events for _ in range(3)]
        random.Random(7).shuffle(deliveries)

        await record(org, deliveries)

        for place in (home, other):
            assert await sequences(org, place) == list(range(1, 41))
        rows = await org.rows(
            "SELECT count(DISTINCT event_id) FROM org.feed_entries WHERE organization_id = $1", home.organization_id
        )
        assert rows == [(40,)]

    async def test_that_fails_takes_no_number(self, org: Org) -> None:
        home = await found(org)
        await record(org, [an_event(home, DocumentAccepted(), service="kb")])

        class Interrupted(Exception):
            pass

        async with _expecting(Interrupted), org.acquire.as_organization(home.organization_id, home.actor) as work:
            assert await work.feed.take_sequence() == 2
            raise Interrupted
        await record(org, [an_event(home, DocumentAccepted(), service="kb")])

        assert await sequences(org, home) == [1, 2]

    async def test_ignores_events_of_no_organization(self, org: Org) -> None:
        before = await org.rows("SELECT count(*) FROM org.feed_entries")

        await record(org, [an_event(None, DocumentAccepted(), service="kb")])

        assert await org.rows("SELECT count(*) FROM org.feed_entries") == before

    async def test_keeps_an_event_of_a_newer_release_without_its_fields(self, org: Org) -> None:
        home = await found(org)
        newer = an_event(home, DocumentAccepted(), service="kb", message_type="definable.kb.v1.NotYetKnown")

        await record(org, [newer])

        listed = await org.events(home.owner).ListEvents(ListEventsRequest())
        assert [(event.seq, dict(event.data)) for event in listed.events] == [(1, {})]


class TestListEvents:
    async def test_reads_on_after_a_sequence_and_pages(self, org: Org) -> None:
        home = await found(org)
        await record(org, [an_event(home, DocumentAccepted(document_id=f"doc_{n}"), service="kb") for n in range(7)])

        first = await org.events(home.owner).ListEvents(ListEventsRequest(after=2, page_size=3))
        rest = await org.events(home.owner).ListEvents(
            ListEventsRequest(after=2, page_size=3, page_token=first.next_page_token)
        )

        assert [event.seq for event in [*first.events, *rest.events]] == [3, 4, 5, 6, 7]
        assert (first.last_seq, rest.next_page_token) == (7, "")
        assert first.events[0].type == "definable.kb.document.accepted.v1"
        assert first.events[0].data["document_id"].startswith("doc_")

    async def test_filters_by_the_beginning_of_the_type(self, org: Org) -> None:
        home = await found(org)
        await record(
            org, [an_event(home, DocumentAccepted(), service="kb"), an_event(home, RunEnded(), service="agent")]
        )

        listed = await org.events(home.owner).ListEvents(ListEventsRequest(type_prefix="definable.agent."))

        assert [event.type for event in listed.events] == ["definable.agent.run.ended.v1"]

    async def test_shows_nothing_of_another_organization(self, org: Org) -> None:
        home, other = await found(org), await found(org)
        await record(org, [an_event(home, DocumentAccepted(), service="kb")])

        listed = await org.events(other.owner).ListEvents(ListEventsRequest())

        assert (list(listed.events), listed.last_seq) == ([], 0)

    async def test_shows_runs_to_whoever_caused_them_and_to_admins(self, org: Org) -> None:
        home = await found(org)
        mine, other = await org.a_member(home, Rank.MEMBER), await org.a_member(home, Rank.MEMBER)
        await record(org, [an_event(home, RunEnded(), service="agent", actor=mine)])

        async def seen_by(caller: object) -> int:
            listed = await org.events(caller).ListEvents(ListEventsRequest(type_prefix="definable.agent."))
            return len(listed.events)

        assert [await seen_by(mine), await seen_by(other), await seen_by(home.owner)] == [1, 0, 1]

    async def test_says_when_events_are_gone(self, org: Org) -> None:
        home = await found(org)
        await record(org, [an_event(home, DocumentAccepted(), service="kb") for _ in range(3)])
        await org.execute(
            "UPDATE org.feed_entries SET record_time = now() - interval '8 days'"
            " WHERE organization_id = $1 AND sequence <= 2",
            home.organization_id,
        )

        await Upkeep(org.acquire, interval=org.settings.upkeep_interval).once()

        with refused("FEED_SEQUENCE_EXPIRED"):
            await org.events(home.owner).ListEvents(ListEventsRequest(after=1))
        for after in (0, 2):
            listed = await org.events(home.owner).ListEvents(ListEventsRequest(after=after))
            assert [event.seq for event in listed.events] == [3]


class TestWatchEvents:
    async def test_replays_and_goes_on_live_without_gap(self, org: Org) -> None:
        home = await found(org)
        await record(org, [an_event(home, DocumentAccepted(), service="kb") for _ in range(3)])
        seen: list[FeedEvent] = []

        async def watch() -> None:
            async for event in org.events(home.owner).WatchEvents(WatchEventsRequest(after=1)):
                seen.append(event)
                if len(seen) == 12:
                    return

        watching = asyncio.create_task(watch())
        for _ in range(5):
            await record(org, [an_event(home, DocumentAccepted(), service="kb") for _ in range(2)])
        await asyncio.wait_for(watching, 10)

        assert [event.seq for event in seen] == list(range(2, 14))

    async def test_is_woken_by_the_bell_and_not_only_by_its_own_patience(self, org: Org) -> None:
        home = await found(org)
        arrived = asyncio.Event()

        async def watch() -> None:
            async for _ in org.events(home.owner).WatchEvents(WatchEventsRequest(from_now=True)):
                arrived.set()
                return

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.5)
        await record(org, [an_event(home, DocumentAccepted(), service="kb")])

        await asyncio.wait_for(arrived.wait(), 1)
        await watching

    async def test_with_a_prefix_skips_the_rest_and_misses_nothing(self, org: Org) -> None:
        home = await found(org)
        seen: list[int] = []

        async def watch() -> None:
            async for event in org.events(home.owner).WatchEvents(WatchEventsRequest(type_prefix="definable.agent.")):
                seen.append(event.seq)
                if len(seen) == 5:
                    return

        watching = asyncio.create_task(watch())
        for _ in range(5):
            await record(org, [an_event(home, DocumentAccepted(), service="kb") for _ in range(3)])
            await record(org, [an_event(home, RunEnded(), service="agent")])
        await asyncio.wait_for(watching, 10)

        assert seen == [4, 8, 12, 16, 20]

    async def test_ends_when_the_credential_is_revoked(self, org: Org) -> None:
        home = await found(org)
        ended: list[FleetError] = []

        async def watch() -> None:
            try:
                async for _ in org.events(home.owner).WatchEvents(WatchEventsRequest()):
                    pass
            except FleetError as error:
                ended.append(error)

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.5)
        await org.authority.revoke(home.owner)
        await asyncio.wait_for(watching, 5)

        assert [error.reason for error in ended] == ["UNAUTHENTICATED"]


class TestAuditLog:
    async def test_says_who_did_what_to_what_from_where(self, org: Org) -> None:
        home = await found(org)
        await record(
            org,
            [
                an_event(
                    home,
                    DocumentAccepted(document_id="doc_1"),
                    service="kb",
                    target="doc_1",
                    after_digest="abc",
                    client_address="203.0.113.7",
                    request_id="req_1",
                )
            ],
        )

        page = await org.audit(home.owner).ListAuditEntries(ListAuditEntriesRequest())

        [entry] = page.audit_entries
        assert entry.id.startswith("audit_")
        assert (entry.actor, entry.actor_kind) == (home.owner_id, "user")
        assert (entry.subject, entry.target) == ("definable.kb.document.accepted.v1", "doc_1")
        assert (entry.before_digest, entry.after_digest) == ("", "abc")
        assert (entry.client_address, entry.request_id) == ("203.0.113.7", "req_1")
        assert entry.data["document_id"] == "doc_1"

    async def test_filters_and_pages_newest_first(self, org: Org) -> None:
        home = await found(org)
        times = [a_timestamp(minute=minute) for minute in range(4)]
        await record(
            org,
            [
                an_event(home, DocumentAccepted(), service="kb", target=f"doc_{minute % 2}", time=time)
                for minute, time in enumerate(times)
            ],
        )
        await record(org, [an_event(home, RunEnded(), service="agent", time=a_timestamp(minute=9))])

        async def targets(**filters: Any) -> list[str]:
            page = await org.audit(home.owner).ListAuditEntries(ListAuditEntriesRequest(**filters))
            return [entry.target for entry in page.audit_entries]

        assert await targets(subject_prefix="definable.kb.") == ["doc_1", "doc_0", "doc_1", "doc_0"]
        assert await targets(target="doc_1") == ["doc_1", "doc_1"]
        assert await targets(actor="user_nobody") == []
        assert await targets(start_time=times[1], end_time=times[3]) == ["doc_0", "doc_1"]
        first = await org.audit(home.owner).ListAuditEntries(ListAuditEntriesRequest(page_size=3))
        rest = await org.audit(home.owner).ListAuditEntries(
            ListAuditEntriesRequest(page_size=3, page_token=first.next_page_token)
        )
        assert len({entry.id for entry in [*first.audit_entries, *rest.audit_entries]}) == 5

    async def test_leaves_out_progress_and_bookkeeping(self, org: Org) -> None:
        home = await found(org)
        await record(
            org,
            [
                an_event(home, JobQueued(job_id=a_job_id(), create_time=a_timestamp()), service="kb"),
                an_event(home, RunUsageRecorded(), service="agent"),
            ],
        )

        page = await org.audit(home.owner).ListAuditEntries(ListAuditEntriesRequest())

        assert not page.audit_entries

    async def test_can_be_added_to_and_nothing_else(self, org: Org) -> None:
        home = await found(org)
        await record(org, [an_event(home, DocumentAccepted(), service="kb")])

        for statement in (
            "UPDATE org.audit_entries SET actor = 'nobody'",
            "DELETE FROM org.audit_entries",
            "TRUNCATE org.audit_entries",
        ):
            for role in ("app", "machinery"):
                assert await org.refusal_by_database(role, statement) == "InsufficientPrivilegeError"
        assert len((await org.audit(home.owner).ListAuditEntries(ListAuditEntriesRequest())).audit_entries) == 1


class TestJobs:
    async def test_show_the_latest_report_whatever_the_order(self, org: Org) -> None:
        home, job_id = await found(org), a_job_id()
        common: dict[str, Any] = {
            "job_id": job_id,
            "kind": "ingest_document",
            "target": "doc_1",
            "create_time": a_timestamp(),
        }
        reports = [
            an_event(home, JobQueued(**common), service="kb", revision=1),
            an_event(
                home,
                JobProgressed(
                    **common,
                    state=JobState.JOB_STATE_RUNNING,
                    attempt=1,
                    progress_done=3,
                    progress_total=9,
                    progress_note="embedding",
                    start_time=a_timestamp(minute=1),
                ),
                service="kb",
                revision=2,
            ),
            an_event(
                home,
                JobFinished(
                    **common,
                    state=JobState.JOB_STATE_FAILED,
                    attempt=2,
                    error_reason="X",
                    end_time=a_timestamp(minute=2),
                ),
                service="kb",
                revision=3,
            ),
        ]
        for report in (reports[1], reports[2], reports[0]):
            await record(org, [report])

        [job] = (await org.jobs(home.owner).ListJobs(ListJobsRequest())).jobs

        assert (job.id, job.kind, job.target) == (job_id, "ingest_document", "doc_1")
        assert (job.state, job.attempt, job.error_reason) == (JobState.JOB_STATE_FAILED, 2, "X")
        assert (job.progress_done, job.progress_total, job.progress_note) == (3, 9, "embedding")
        assert (job.start_time, job.end_time) == (a_timestamp(minute=1), a_timestamp(minute=2))

    async def test_are_filtered_by_state_kind_and_service(self, org: Org) -> None:
        home = await found(org)
        for service, kind in (("kb", "ingest_document"), ("kb", "scrub"), ("agent", "ingest_document")):
            job = JobQueued(job_id=a_job_id(service), kind=kind, create_time=a_timestamp())
            await record(org, [an_event(home, job, service=service, revision=1)])

        async def count(**filters: Any) -> int:
            return len((await org.jobs(home.owner).ListJobs(ListJobsRequest(**filters))).jobs)

        assert await count() == 3
        assert await count(service="kb") == 2
        assert await count(kind="ingest_document") == 2
        assert await count(service="kb", kind="scrub", state=JobState.JOB_STATE_QUEUED) == 1
        assert await count(state=JobState.JOB_STATE_RUNNING) == 0
        assert (await org.jobs((await found(org)).owner).ListJobs(ListJobsRequest(kind="scrub"))).jobs == []


class TestUsage:
    async def test_adds_up_by_what_is_asked_for(self, org: Org) -> None:
        home = await found(org)
        await record(
            org,
            [
                an_event(
                    home,
                    RunUsageRecorded(
                        run_id=f"run_{n}",
                        agent_id=f"agent_{n % 2}",
                        model="gpt",
                        principal_id=home.owner_id,
                        input_tokens=10,
                        output_tokens=5,
                        cost_nano_usd=100 + n,
                        steps=2,
                    ),
                    service="agent",
                )
                for n in range(4)
            ],
        )
        embedding = EmbeddingUsageRecorded(model="minilm", tokens=1_000, cost_nano_usd=1)
        await record(org, [an_event(home, embedding, service="kb")] * 2)

        async def usage(*dimensions: UsageDimension.ValueType) -> list[tuple[object, ...]]:
            page = await org.usage(home.owner).ListUsage(ListUsageRequest(group_by=dimensions))
            return [(row.model, row.agent_id, row.runs, row.embedding_tokens, row.cost_nano_usd) for row in page.usage]

        assert await usage() == [("", "", 4, 1_000, 407)]
        assert await usage(UsageDimension.USAGE_DIMENSION_MODEL) == [
            ("gpt", "", 4, 0, 406),
            ("minilm", "", 0, 1_000, 1),
        ]
        assert await usage(UsageDimension.USAGE_DIMENSION_AGENT) == [
            ("", "agent_1", 2, 0, 204),
            ("", "agent_0", 2, 0, 202),
            ("", "", 0, 1_000, 1),
        ]
        by_member = await org.usage(home.owner).ListUsage(
            ListUsageRequest(group_by=[UsageDimension.USAGE_DIMENSION_MEMBER, UsageDimension.USAGE_DIMENSION_DAY])
        )
        assert [(row.user_id, row.input_tokens, row.steps) for row in by_member.usage] == [
            (home.owner_id, 40, 8),
            ("", 0, 0),
        ]
        assert all(len(row.day) == 10 for row in by_member.usage)

    async def test_pages_through_groups(self, org: Org) -> None:
        home = await found(org)
        for n in range(5):
            event = RunUsageRecorded(model=f"model_{n}", cost_nano_usd=n % 2)
            await record(org, [an_event(home, event, service="agent")])
        listed, token = [], ""

        while True:
            page = await org.usage(home.owner).ListUsage(
                ListUsageRequest(group_by=[UsageDimension.USAGE_DIMENSION_MODEL], page_size=2, page_token=token)
            )
            listed += [row.model for row in page.usage]
            token = page.next_page_token
            if not token:
                break

        assert listed == ["model_1", "model_3", "model_0", "model_2", "model_4"]

    @pytest.mark.parametrize("minutes", [(5, 5), (5, 1)])
    async def test_refuses_a_period_that_is_none(self, org: Org, minutes: tuple[int, int]) -> None:
        home = await found(org)
        start, end = (a_timestamp(minute=minute) for minute in minutes)

        with refused("USAGE_PERIOD_INVALID"):
            await org.usage(home.owner).ListUsage(ListUsageRequest(start_time=start, end_time=end))


def _expecting(kind: type[Exception]) -> "_Expecting":
    return _Expecting(kind)


class _Expecting:
    """`pytest.raises` that can stand in one `async with` with what raises."""

    def __init__(self, kind: type[Exception]) -> None:
        self._kind = kind

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        assert kind is self._kind
        return True
