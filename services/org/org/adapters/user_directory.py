"""The directory of users, which is auth's."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog

from chassis.errors import CallTimedOut, Unavailable
from chassis.ids import USER
from chassis.rpc.client import Peers
from definable.auth.v1.user_directory_service_pb2 import EnsureUserRequest, GetUsersRequest
from definable.auth.v1.user_directory_service_pb2_grpc import UserDirectoryServiceStub
from org.domain.ports import Profile

log = structlog.get_logger(__name__)


class AuthUserDirectory:
    """Asks auth as the service org, on behalf of an organization."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def ensure_user(self, *, organization_id: UUID, email: str, display_name: str) -> Profile:
        """Find the user with an address, or create one without a password. Raises DependencyUnavailable."""
        async with self._peers.as_service(organization_id):
            stub = self._peers.stub(UserDirectoryServiceStub, "auth")
            user = await stub.EnsureUser(EnsureUserRequest(email=email, display_name=display_name))
        return Profile(user_id=USER.parse(user.id), display_name=user.display_name, email=user.email)

    async def profiles(self, *, organization_id: UUID, user_ids: Sequence[UUID]) -> Mapping[UUID, Profile]:
        """Name users; with auth away nobody is named, since a list of members without names is better than none."""
        if not user_ids:
            return {}
        try:
            async with self._peers.as_service(organization_id):
                stub = self._peers.stub(UserDirectoryServiceStub, "auth")
                answer = await stub.GetUsers(GetUsersRequest(ids=[USER.show(user_id) for user_id in user_ids]))
        except (Unavailable, CallTimedOut) as error:
            log.warning("users_not_named", reason=error.reason)
            return {}
        found = [Profile(USER.parse(user.id), user.display_name, user.email) for user in answer.users]
        return {profile.user_id: profile for profile in found}
