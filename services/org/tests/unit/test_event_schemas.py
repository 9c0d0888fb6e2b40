"""Reading events of all services by the packaged contracts."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.messaging.events import subject_of
from chassis.rpc import descriptors
from definable.agent.v1.events_pb2 import RunUsageRecorded
from definable.jobs.v1.events_pb2 import JobProgressed
from definable.jobs.v1.job_service_pb2 import JobState
from definable.kb.v1.events_pb2 import EmbeddingUsageRecorded
from definable.options.v1 import options_pb2
from definable.options.v1.events_pb2 import AccessRefused, RefusedAccess
from definable.org.v1.events_pb2 import MemberAdded, OrganizationUpdated
from org.adapters.event_schemas import EventSchemas
from org.domain import facts


@pytest.fixture(scope="module")
def schemas() -> EventSchemas:
    return EventSchemas(descriptors.packaged())


class TestFields:
    def test_are_read_by_type(self, schemas: EventSchemas) -> None:
        event = MemberAdded(organization_id="org_1", user_id="user_1", role="admin")

        assert schemas.fields("definable.org.v1.MemberAdded", event.SerializeToString()) == {
            "organization_id": "org_1",
            "user_id": "user_1",
            "role": "admin",
        }

    def test_keep_lists(self, schemas: EventSchemas) -> None:
        event = OrganizationUpdated(organization_id="org_1", changed_fields=["display_name", "slug"])

        fields = schemas.fields("definable.org.v1.OrganizationUpdated", event.SerializeToString())

        assert fields["changed_fields"] == ["display_name", "slug"]

    def test_hold_numbers_as_numbers(self, schemas: EventSchemas) -> None:
        usage = RunUsageRecorded(run_id="run_1", model="m", input_tokens=2**40, output_tokens=7, steps=3)

        fields = schemas.fields("definable.agent.v1.RunUsageRecorded", usage.SerializeToString())

        assert (fields["input_tokens"], fields["output_tokens"], fields["cost_nano_usd"]) == (2**40, 7, 0)
        assert (fields["run_id"], fields["agent_id"], fields["steps"]) == ("run_1", "", 3)

    def test_hold_numbers_as_numbers_also_further_in(self, schemas: EventSchemas) -> None:
        event = AccessRefused(total=2, refusals=[RefusedAccess(method="m", count=2)])

        fields = schemas.fields("definable.options.v1.AccessRefused", event.SerializeToString())

        assert fields["total"] == 2
        assert fields["refusals"][0]["count"] == 2

    def test_of_jobs_are_read_whatever_the_service(self, schemas: EventSchemas) -> None:
        event = JobProgressed(
            job_id="job_kb_1", state=JobState.JOB_STATE_RUNNING, progress_done=5, create_time=Timestamp(seconds=1)
        )

        fields = schemas.fields("definable.jobs.v1.JobProgressed", event.SerializeToString())

        assert fields["state"] == "JOB_STATE_RUNNING"
        assert fields["progress_done"] == 5
        assert fields["create_time"] == "1970-01-01T00:00:01Z"

    def test_are_empty_for_a_newer_event_and_for_bytes_that_are_none(self, schemas: EventSchemas) -> None:
        assert schemas.fields("definable.kb.v1.ThingHappened", b"\x0a\x01x") == {}
        assert schemas.fields("definable.org.v1.MemberAdded", b"\xff\xff\xff") == {}

    def test_are_known_for_every_event_of_the_contracts(self, schemas: EventSchemas) -> None:
        kinds = [
            f"{file.package}.{message.name}"
            for file in descriptors.packaged().file
            for message in file.message_type
            if message.options.Extensions[options_pb2.event].subject
        ]

        assert len(kinds) >= 20
        assert all(schemas._kind(kind).DESCRIPTOR.full_name == kind for kind in kinds)

    def test_of_usage_come_under_the_subjects_that_are_added_up(self) -> None:
        assert subject_of(RunUsageRecorded) == facts.RUN_USAGE
        assert subject_of(EmbeddingUsageRecorded) == facts.EMBEDDING_USAGE
