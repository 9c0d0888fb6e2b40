"""Envelopes on the wire, digests, and subjects."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import USER, new_id
from chassis.messaging.events import (
    Delivery,
    Envelope,
    NotAnEvent,
    UnreadableEvent,
    digest,
    from_headers,
    producer_of,
    read_message,
    stream_name,
    subject_of,
    to_headers,
)
from chassis.rpc.caller import Actor
from definable.jobs.v1.events_pb2 import JobFinished, JobQueued
from definable.jobs.v1.job_service_pb2 import Job
from definable.options.v1.events_pb2 import AccessRefused
from definable.org.v1.events_pb2 import MemberRemoved

user_ids = st.uuids().map(lambda value: Actor(USER.show(value), "user", value))
envelopes = st.builds(
    Envelope,
    event_id=st.uuids(),
    subject=st.just("definable.kb.document.indexed.v1"),
    time=st.datetimes(timezones=st.just(UTC)),
    organization_id=st.none() | st.uuids(),
    actor=user_ids | st.builds(Actor, st.text(), st.sampled_from(["api_key", "service"])),
    request_id=st.text(),
    client_address=st.text(),
    target=st.text(),
    before_digest=st.text(),
    after_digest=st.text(),
    revision=st.integers(0, 2**62),
    traceparent=st.text(),
    message_type=st.text(),
)


class TestHeaders:
    @given(envelopes)
    def test_keep_the_envelope(self, envelope: Envelope) -> None:
        assert from_headers(to_headers(envelope)) == envelope

    @given(envelopes)
    def test_are_plain_ascii_without_line_breaks(self, envelope: Envelope) -> None:
        for name, value in to_headers(envelope).items():
            assert value.isascii()
            assert value.isprintable()
            assert name == name.lower()

    def test_are_cloud_events(self) -> None:
        envelope = Envelope(UUID(int=1), "definable.kb.document.indexed.v1", datetime(2026, 1, 2, tzinfo=UTC))
        headers = to_headers(envelope)
        assert headers["ce-specversion"] == "1.0"
        assert headers["ce-type"] == envelope.subject
        assert headers["ce-source"] == "/definable/kb"
        assert headers["ce-time"] == "2026-01-02T00:00:00+00:00"
        assert headers["content-type"] == "application/protobuf"
        assert "ce-organizationid" not in headers

    def test_of_somebody_else_are_refused(self) -> None:
        with pytest.raises(KeyError):
            from_headers({"x": "y"})

    def test_name_no_principal_for_a_user_that_is_none(self) -> None:
        headers = {
            **to_headers(Envelope(new_id(), "a.b.c", datetime.now(UTC))),
            "ce-actor": "x",
            "ce-actorkind": "user",
        }
        assert from_headers(headers).actor == Actor("x", "user")


class TestDigest:
    def test_is_empty_for_nothing(self) -> None:
        assert digest(new_id(), None) == ""

    @given(st.dictionaries(st.text(), st.integers(0, 100) | st.text()))
    def test_does_not_depend_on_the_order_of_keys(self, content: dict[str, int | str]) -> None:
        organization_id = UUID(int=7)
        assert digest(organization_id, content) == digest(organization_id, dict(reversed(content.items())))

    def test_tells_contents_and_organizations_apart(self) -> None:
        first, second = new_id(), new_id()
        digests = {digest(first, {"a": 1}), digest(first, {"a": 2}), digest(second, {"a": 1}), digest(None, {"a": 1})}
        assert len(digests) == 4

    def test_takes_ids_and_times(self) -> None:
        assert digest(None, {"id": new_id(), "time": datetime.now(UTC)})

    def test_digests_take_integers_of_any_size(self) -> None:
        assert digest(None, {"a": 10**30}) != digest(None, {"a": 10**30 + 1})


class TestSubject:
    def test_is_the_option_of_the_message(self) -> None:
        assert subject_of(MemberRemoved).startswith("definable.org.")

    def test_of_a_shared_event_has_the_service_in_it(self) -> None:
        assert subject_of(JobQueued, service="kb") == "definable.kb.job.queued.v1"
        assert subject_of(AccessRefused, service="kb") == "definable.kb.access.refused.v1"

    def test_is_missing_on_what_is_no_event(self) -> None:
        with pytest.raises(NotAnEvent):
            subject_of(Job)

    def test_names_its_producer_and_stream(self) -> None:
        assert producer_of("definable.kb.document.indexed.v1") == "kb"
        assert stream_name("kb") == "definable_kb"


class TestDelivery:
    def a_delivery(self, payload: bytes, message_type: str = "definable.jobs.v1.JobFinished") -> Delivery:
        envelope = Envelope(new_id(), "definable.kb.job.finished.v1", datetime.now(UTC), message_type=message_type)
        return Delivery(envelope, payload, read_message(message_type, payload))

    def test_gives_the_message_as_its_type(self) -> None:
        message = JobFinished(job_id="job_kb_1")
        assert self.a_delivery(message.SerializeToString()).of(JobFinished) == message

    def test_refuses_another_type(self) -> None:
        with pytest.raises(UnreadableEvent):
            self.a_delivery(JobFinished().SerializeToString()).of(JobQueued)

    @pytest.mark.parametrize(
        ("payload", "message_type"), [(b"\xff\xff", "definable.jobs.v1.JobFinished"), (b"", "definable.unknown.v1.X")]
    )
    def test_refuses_what_it_cannot_read(self, payload: bytes, message_type: str) -> None:
        delivery = self.a_delivery(payload, message_type)
        assert delivery.message is None
        with pytest.raises(UnreadableEvent):
            delivery.of(JobFinished)

    def test_ignores_fields_of_a_newer_producer(self) -> None:
        newer = JobFinished(job_id="job_kb_1").SerializeToString() + b"\xfa\x3f\x03new"
        assert self.a_delivery(newer).of(JobFinished).job_id == "job_kb_1"
