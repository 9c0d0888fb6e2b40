"""Rows to messages."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from auth import models
from auth.application.accounts import TokenPair
from auth.domain import api_keys, ids
from auth.domain.membership import OwnMembership
from auth.repositories import Profile
from chassis.data.database import etag
from chassis.ids import ORGANIZATION, USER
from chassis.rpc.times import timestamp
from definable.auth.v1.account_service_pb2 import LogInResponse, RefreshSessionResponse, SwitchOrganizationResponse
from definable.auth.v1.api_key_service_pb2 import ApiKey
from definable.auth.v1.authentication_service_pb2 import Revocation
from definable.auth.v1.user_directory_service_pb2 import UserProfile
from definable.auth.v1.user_service_pb2 import OwnMembership as OwnMembershipMessage
from definable.auth.v1.user_service_pb2 import User
from definable.options.v1.options_pb2 import Rank

Pair = TypeVar("Pair", LogInResponse, RefreshSessionResponse, SwitchOrganizationResponse)


def user(row: models.User) -> User:
    """Show a user to themselves."""
    return User(
        id=USER.show(row.id),
        email=row.email,
        display_name=row.display_name,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        etag=etag(row),
    )


def profile(row: Profile) -> UserProfile:
    """Show a user to other members."""
    return UserProfile(id=USER.show(row.id), display_name=row.display_name, email=row.email)


def token_pair(kind: type[Pair], pair: TokenPair) -> Pair:
    """Show a pair of tokens; the three replies that hold one name its fields alike."""
    return kind(
        access_token=pair.access_token,
        token_type="Bearer",
        expires_in_seconds=int(pair.expires_in.total_seconds()),
        refresh_token=pair.refresh_token,
        organization_id=ORGANIZATION.show(pair.organization_id),
    )


def memberships(own: Sequence[OwnMembership]) -> list[OwnMembershipMessage]:
    """Show the organizations of the caller."""
    return [
        OwnMembershipMessage(
            organization_id=ORGANIZATION.show(one.organization_id),
            display_name=one.display_name,
            role=one.role,
            rank=Rank.ValueType(one.rank),
        )
        for one in own
    ]


def api_key(row: models.ApiKey) -> ApiKey:
    """Show a key without its secret."""
    return ApiKey(
        id=ids.API_KEY.show(row.id),
        display_name=row.display_name,
        public_prefix=api_keys.PREFIX + row.public_id,
        scopes=row.scopes,
        expire_time=timestamp(row.expire_time),
        allowed_addresses=row.allowed_addresses,
        requests_per_minute=row.requests_per_minute,
        end_user=row.end_user,
        creator_id=USER.show(row.creator_id),
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        last_used_time=timestamp(row.last_used_time),
        revoke_time=timestamp(row.revoke_time),
        etag=etag(row),
    )


def key_settings(message: ApiKey) -> dict[str, Any]:  # fields of the row, by name
    """Read what a caller can set when creating a key."""
    return key_changes(
        {
            "display_name": message.display_name,
            "scopes": message.scopes,
            "expire_time": message.expire_time if message.HasField("expire_time") else None,
            "allowed_addresses": message.allowed_addresses,
            "requests_per_minute": message.requests_per_minute,
        }
    )


def key_changes(masked: Mapping[str, Any]) -> dict[str, Any]:  # values of messages in, of the row out
    """Read fields of a key as the row has them; those of a cleared field are None."""
    return {name: _value(name, value) for name, value in masked.items()}


def revocation(row: models.Revocation) -> Revocation:
    """Show a revocation to those who watch."""
    return Revocation(
        sequence=row.sequence,
        time=timestamp(row.time),
        session_id=_show(ids.SESSION.show, row.session_id),
        key_id=_show(ids.API_KEY.show, row.api_key_id),
        user_id=_show(USER.show, row.user_id),
        organization_id=_show(ORGANIZATION.show, row.organization_id),
    )


def _value(name: str, value: Any) -> Any:  # one field, of any type
    if isinstance(value, Timestamp):
        return read_time(value)
    if name in ("scopes", "allowed_addresses"):
        return list(value)
    return value


def read_time(message: Timestamp) -> datetime:
    """Read a time as UTC."""
    return message.ToDatetime(tzinfo=UTC)


def _show(show: Callable[[UUID], str], value: UUID | None) -> str:
    return "" if value is None else show(value)
