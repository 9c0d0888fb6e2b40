"""What auth does when it hears from org."""

from datetime import UTC, datetime
from uuid import UUID

from auth.application.rights import AUTH
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.ids import ORGANIZATION, USER
from chassis.messaging.events import Delivery
from definable.org.v1.events_pb2 import MemberRemoved, MemberRoleChanged


class MembershipChanged:
    """Revokes the tokens of a member whose rights changed, and forgets what org said before."""

    name = "membership_changed"
    events = (MemberRemoved, MemberRoleChanged)

    def __init__(self, acquire: Acquire[AuthUnitOfWork]) -> None:
        self._acquire = acquire

    async def handle(self, delivery: Delivery) -> None:
        """Revoke what was issued until now: the change was committed before, so that later tokens know it."""
        organization_id, user_id = _member(delivery)
        async with self._acquire.as_organization(organization_id, AUTH, inbox=delivery) as work:
            await work.membership_answers.forget(user_id)
            await work.revocations.add(time=datetime.now(UTC), user_id=user_id, organization_id=organization_id)


def _member(delivery: Delivery) -> tuple[UUID, UUID]:
    message = delivery.message
    if not isinstance(message, MemberRemoved | MemberRoleChanged):
        raise TypeError(f"not a change of membership: {delivery.envelope.subject}")
    return ORGANIZATION.parse(message.organization_id), USER.parse(message.user_id)
