"""What is audited, and who sees which event."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from chassis.rpc import descriptors
from org.domain.facts import Fact, Visibility, visibility_of
from org.domain.roles import ADMIN_RANK

CATALOGUE = {
    "agent.runs.read": 20,
    "conversation.conversations.read": 20,
    "kb.documents.read": 10,
    "kb.knowledge_bases.read": 10,
    "org.audit.read": 40,
    "org.jobs.read": 10,
    "org.usage.read": 40,
}


def a_fact(subject: str) -> Fact:
    return Fact(
        event_id=UUID(int=1),
        subject=subject,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        actor="user_x",
        actor_kind="user",
        principal_id=None,
        target="",
        before_digest="",
        after_digest="",
        client_address="",
        request_id="",
        revision=0,
        data={},
    )


class TestFact:
    @pytest.mark.parametrize(
        ("subject", "is_audited"),
        [
            ("definable.kb.document.deleted.v1", True),
            ("definable.kb.access.refused.v1", True),
            ("definable.kb.job.finished.v1", True),
            ("definable.kb.job.queued.v1", False),
            ("definable.kb.job.progressed.v1", False),
            ("definable.agent.run.usage_recorded.v1", False),
        ],
    )
    def test_is_audited_when_somebody_changed_something_or_was_refused(self, subject: str, is_audited: bool) -> None:
        assert a_fact(subject).is_audited is is_audited

    def test_knows_jobs_of_every_service(self) -> None:
        assert a_fact("definable.tool.job.queued.v1").is_job
        assert a_fact("definable.tool.job.queued.v1").service == "tool"
        assert not a_fact("definable.kb.document.created.v1").is_job


class TestVisibility:
    @pytest.mark.parametrize(
        ("subject", "visibility"),
        [
            ("definable.kb.document.indexed.v1", Visibility("kb.documents.read", 10)),
            ("definable.kb.knowledge_base.created.v1", Visibility("kb.knowledge_bases.read", 10)),
            ("definable.kb.job.progressed.v1", Visibility("org.jobs.read", 10)),
            ("definable.agent.run.usage_recorded.v1", Visibility("org.usage.read", 40)),
            ("definable.kb.access.refused.v1", Visibility("org.audit.read", 40)),
            ("definable.new.thing.happened.v1", Visibility("org.audit.read", 40)),
            ("nonsense", Visibility("org.audit.read", 40)),
        ],
    )
    def test_follows_the_permission_to_read_the_resource(self, subject: str, visibility: Visibility) -> None:
        assert visibility_of(subject, catalogue=CATALOGUE, admin_rank=ADMIN_RANK) == visibility

    @pytest.mark.parametrize(
        ("subject", "permission"),
        [
            ("definable.agent.run.ended.v1", "agent.runs.read"),
            ("definable.conversation.conversation.created.v1", "conversation.conversations.read"),
        ],
    )
    def test_of_owned_resources_is_for_their_actor_and_readers_of_all(self, subject: str, permission: str) -> None:
        visibility = visibility_of(subject, catalogue=CATALOGUE, admin_rank=ADMIN_RANK)

        assert visibility == Visibility(f"{permission}_all", ADMIN_RANK, (permission, 20))

    def test_is_closed_where_the_catalogue_knows_nothing(self) -> None:
        visibility = visibility_of("definable.kb.document.indexed.v1", catalogue={}, admin_rank=ADMIN_RANK)

        assert visibility == Visibility("org.audit.read", ADMIN_RANK)

    @pytest.mark.parametrize(
        ("subject", "permission"),
        [
            ("definable.org.member.added.v1", "org.members.read"),
            ("definable.org.organization.updated.v1", "org.organizations.read"),
            ("definable.kb.document.indexed.v1", "kb.documents.read"),
            ("definable.agent.agent.created.v1", "agent.agents.read"),
        ],
    )
    def test_finds_the_permissions_of_the_contracts(self, subject: str, permission: str) -> None:
        catalogue = descriptors.catalogue()

        assert visibility_of(subject, catalogue=catalogue, admin_rank=ADMIN_RANK).permission == permission
