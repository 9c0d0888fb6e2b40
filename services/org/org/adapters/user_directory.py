"""The directory of users, which is auth's."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog

from chassis.errors import FleetError
from chassis.ids import USER
from chassis.rpc.client import Peers, as_service
from definable.auth.v1.user_directory_service_pb2 import EnsureUserRequest, GetUsersRequest
from definable.auth.v1.user_directory_service_pb2_grpc import UserDirectoryServiceStub
from org.domain.ports import Profile

log = structlog.get_logger(__name__)


class AuthUserDirectory:
    """Asks auth as the service org, on behalf of an organization."""

    def __init__(self, peers: Peers) -> None:
        self._auth = peers.stub(UserDirectoryServiceStub, "auth")

    async def ensure_user(self, *, organization_id: UUID, email: str, display_name: str) -> Profile:
        """Find the user with an address, or create one without a password. Raises DependencyUnavailable."""
        async with as_service(organization_id):
            user = await self._auth.EnsureUser(EnsureUserRequest(email=email, display_name=display_name))
        return Profile(user_id=USER.parse(user.id), display_name=user.display_name, email=user.email)

    async def profiles(self, *, organization_id: UUID, user_ids: Sequence[UUID]) -> Mapping[UUID, Profile]:
        """Name users; with auth away nobody is named, since a list of members without names is better than none."""
        if not user_ids:
            return {}
        wanted = GetUsersRequest(ids=[USER.show(user_id) for user_id in user_ids])
        try:
            async with as_service(organization_id):
                answer = await self._auth.GetUsers(wanted)
        except FleetError as error:
            if not error.is_retryable:
                raise
            log.warning("users_not_named", reason=error.reason)
            return {}
        found = [Profile(USER.parse(user.id), user.display_name, user.email) for user in answer.users]
        return {profile.user_id: profile for profile in found}
