"""What somebody may do right now: asked of org, remembered for when org is down."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from auth.domain.membership import MembershipAnswer, Memberships
from auth.domain.scopes import Rights
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import DependencyUnavailable
from chassis.rpc.caller import Actor

MAX_ANSWER_AGE = timedelta(minutes=10)
REWRITE_AFTER = timedelta(seconds=60)  # an unchanged answer is written again only then, to spare the disk
AUTH = Actor.service("auth")


class RightsDirectory:
    """Rights of users in organizations."""

    def __init__(self, acquire: Acquire[AuthUnitOfWork], memberships: Memberships) -> None:
        self._acquire = acquire
        self._memberships = memberships

    async def of(self, *, user_id: UUID, organization_id: UUID) -> Rights | None:
        """Return a user's rights; None when the user is no member.

        While org is down the last answer counts, if it is at most ten minutes old and no event has voided it.
        Raises DependencyUnavailable without one.
        """
        try:
            answer = await self._memberships.resolve(organization_id=organization_id, user_id=user_id)
        except DependencyUnavailable:
            recalled = await self._recall(user_id=user_id, organization_id=organization_id)
            if recalled is None:
                raise
            return recalled.rights
        await self._remember(user_id=user_id, organization_id=organization_id, answer=answer)
        return answer.rights if answer else None

    async def _recall(self, *, user_id: UUID, organization_id: UUID) -> MembershipAnswer | None:
        since = datetime.now(UTC) - MAX_ANSWER_AGE
        async with self._acquire.as_organization(organization_id, AUTH) as work:
            return await work.membership_answers.recall(user_id=user_id, since=since)

    async def _remember(self, *, user_id: UUID, organization_id: UUID, answer: MembershipAnswer | None) -> None:
        async with self._acquire.as_organization(organization_id, AUTH) as work:
            if answer is None:
                await work.membership_answers.forget(user_id)
                return
            fresh = await work.membership_answers.recall(user_id=user_id, since=work.now() - REWRITE_AFTER)
            if fresh != answer:
                await work.membership_answers.remember(user_id=user_id, answer=answer, now=work.now())
