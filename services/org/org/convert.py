"""Rows to messages, and events to facts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.data.database import etag
from chassis.errors import ValidationFailed, Violation
from chassis.ids import ORGANIZATION, USER, job_id
from chassis.rpc.times import timestamp
from definable.jobs.v1.job_service_pb2 import Job, JobState
from definable.options.v1.options_pb2 import Rank
from definable.org.v1.audit_service_pb2 import AuditEntry, ListAuditEntriesRequest
from definable.org.v1.event_service_pb2 import FeedEvent
from definable.org.v1.member_service_pb2 import Member
from definable.org.v1.membership_service_pb2 import Membership, ResolveMembershipResponse
from definable.org.v1.organization_service_pb2 import Organization
from definable.org.v1.role_service_pb2 import Permission, Role
from definable.org.v1.usage_service_pb2 import ListUsageRequest, UsageDimension, UsageRow
from org import models
from org.domain import ids, roles
from org.domain.ports import Profile
from org.domain.roles import BuiltInRole
from org.repositories.organizations import MembershipRow
from org.repositories.usage import UsageSum

_DIMENSIONS = {
    UsageDimension.USAGE_DIMENSION_DAY: "day",
    UsageDimension.USAGE_DIMENSION_MODEL: "model",
    UsageDimension.USAGE_DIMENSION_AGENT: "agent_id",
    UsageDimension.USAGE_DIMENSION_MEMBER: "user_id",
}


def organization(row: models.Organization, *, caller_role: str = "") -> Organization:
    """Show an organization to one of its members."""
    return Organization(
        id=ORGANIZATION.show(row.organization_id),
        display_name=row.display_name,
        slug=row.slug,
        caller_role=caller_role,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        etag=etag(row),
    )


def listed_organization(row: MembershipRow) -> Organization:
    """Show one of the caller's organizations."""
    return Organization(
        id=ORGANIZATION.show(row.id),
        display_name=row.display_name,
        slug=row.slug,
        caller_role=row.role,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        etag=etag(row),
    )


def membership(row: MembershipRow) -> Membership:
    """Show one membership to a process of the fleet."""
    return Membership(
        organization_id=ORGANIZATION.show(row.id),
        display_name=row.display_name,
        slug=row.slug,
        role=row.role,
        rank=Rank.ValueType(row.rank),
    )


def resolved(row: models.Member | None) -> ResolveMembershipResponse:
    """Say what a member may do; None is a user who is none."""
    if row is None:
        return ResolveMembershipResponse(is_member=False)
    return ResolveMembershipResponse(
        is_member=True,
        rank=Rank.ValueType(row.rank),
        grants=[roles.EVERYTHING],
        role=row.role,
        revision=row.change_number,
    )


def member(row: models.Member, profile: Profile | None) -> Member:
    """Show a member, without name and address when the directory did not tell them."""
    return Member(
        user_id=USER.show(row.id),
        display_name=profile.display_name if profile else "",
        email=profile.email if profile else "",
        role=row.role,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        etag=etag(row),
    )


def role(built_in: BuiltInRole, catalogue: Mapping[str, int]) -> Role:
    """Show a built-in role with the permissions of the catalogue that it holds."""
    return Role(
        name=built_in.name,
        description=built_in.description,
        rank=Rank.ValueType(built_in.rank),
        built_in=True,
        permissions=built_in.permissions(catalogue),
    )


def permission(name: str, granted_to: int) -> Permission:
    """Show a permission of the catalogue."""
    return Permission(name=name, service=name.partition(".")[0], granted_to=roles.lowest_role(granted_to).name)


def audit_entry(row: models.AuditEntry) -> AuditEntry:
    """Show an entry of the audit log."""
    return AuditEntry(
        id=ids.AUDIT_ENTRY.show(row.id),
        time=timestamp(row.time),
        actor=row.actor,
        actor_kind=row.actor_kind,
        subject=row.subject,
        target=row.target,
        before_digest=row.before_digest,
        after_digest=row.after_digest,
        client_address=row.client_address,
        request_id=row.request_id,
        data=_struct(row.data),
    )


def feed_event(row: models.FeedEntry) -> FeedEvent:
    """Show an event of the feed."""
    return FeedEvent(
        seq=row.sequence,
        type=row.subject,
        data=_struct(row.data),
        time=timestamp(row.time),
        target=row.target,
        actor=row.actor,
    )


def job(row: models.JobView) -> Job:
    """Show a job of any service."""
    return Job(
        id=job_id(row.service).show(row.id),
        kind=row.kind,
        state=JobState.Value(row.state),
        target=row.target,
        attempt=row.attempt,
        progress_done=row.progress_done,
        progress_total=row.progress_total,
        progress_note=row.progress_note,
        error_reason=row.error_reason,
        error_message=row.error_message,
        create_time=timestamp(row.create_time),
        start_time=timestamp(row.start_time),
        end_time=timestamp(row.end_time),
    )


def usage_row(row: UsageSum) -> UsageRow:
    """Show the sums of one group."""
    return UsageRow(
        day=row.day,
        model=row.model,
        agent_id=row.agent_id,
        user_id=row.user_id,
        runs=row.runs,
        steps=row.steps,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        embedding_tokens=row.embedding_tokens,
        cost_nano_usd=row.cost_nano_usd,
    )


def dimensions(asked: Sequence[UsageDimension.ValueType]) -> frozenset[str]:
    """Read what usage is to be grouped by. Raises ValidationFailed for the value that is none."""
    if UsageDimension.USAGE_DIMENSION_UNSPECIFIED in asked:
        raise ValidationFailed(violations=[Violation("group_by", "must name a dimension", "enum.not_in")])
    return frozenset(_DIMENSIONS[dimension] for dimension in asked)


def moment(
    request: ListAuditEntriesRequest | ListUsageRequest, field: Literal["start_time", "end_time"]
) -> datetime | None:
    """Read a time of a request; None when it was not given. Raises ValidationFailed for one that no calendar has."""
    if not request.HasField(field):
        return None
    try:
        time: Timestamp = getattr(request, field)
        return time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ValidationFailed(violations=[Violation(field, "must be a time", "timestamp")]) from error


def _struct(data: models.Json) -> Struct:
    return ParseDict(data, Struct())
