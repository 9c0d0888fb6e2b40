"""Users: the caller's own profile, and finding or naming others for the fleet."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from auth import models
from auth.domain.errors import CredentialRevoked, EmailTaken
from auth.repositories import Profile
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.database import check_etag
from chassis.data.unit_of_work import Acquire
from chassis.ids import USER, new_id
from definable.auth.v1.events_pb2 import UserInvited, UserUpdated

UPDATABLE = ("display_name",)


async def own(work: AuthUnitOfWork) -> models.User:
    """Return the user of the unit. Raises CredentialRevoked when there is none any more."""
    user = await work.users.own()
    if user is None:
        raise CredentialRevoked
    return user


async def update(work: AuthUnitOfWork, changes: Mapping[str, Any]) -> models.User:  # fields of UPDATABLE
    """Change the profile of the unit's user. Raises EtagMismatch."""
    user = await own(work)
    check_etag(user)
    before = {"display_name": user.display_name}
    for name, value in changes.items():
        setattr(user, name, value)
    user.update_time = work.now()
    await work.session.flush()
    shown = USER.show(user.id)
    work.outbox.add(
        UserUpdated(user_id=shown, changed_fields=sorted(changes)),
        target=shown,
        before=before,
        after={"display_name": user.display_name},
        revision=user.revision,
    )
    return user


async def name_all(work: AuthUnitOfWork, user_ids: Sequence[UUID]) -> list[Profile]:
    """Return the profiles of those that exist."""
    return await work.lookups.profiles(user_ids)


class EnsureUser:
    """Find a user by e-mail address, or create one without a password."""

    def __init__(self, acquire: Acquire[AuthUnitOfWork]) -> None:
        self._acquire = acquire

    async def __call__(self, *, email: str, display_name: str) -> models.User:
        """Return the user. Two calls at once give the same one."""
        return await self._find(email) or await self._create(email, display_name)

    async def _find(self, email: str) -> models.User | None:
        async with self._acquire.anonymous() as work:
            found = await work.lookups.user_by_email(email.lower())
        if found is None:
            return None
        async with self._acquire.as_user(found.id) as work:
            return await work.users.own()

    async def _create(self, email: str, display_name: str) -> models.User:
        user = models.User(
            id=new_id(),
            email=email,
            email_key=email.lower(),
            display_name=display_name or email.partition("@")[0],
        )
        try:
            async with self._acquire.as_user(user.id) as work:
                user.create_time = user.update_time = work.now()
                work.users.add(user)
                await work.session.flush()
                shown = USER.show(user.id)
                work.outbox.add(UserInvited(user_id=shown), target=shown)
        except EmailTaken:
            found = await self._find(email)
            if found is None:
                raise
            return found
        return user
