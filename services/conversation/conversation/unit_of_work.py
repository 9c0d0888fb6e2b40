"""One unit of work of the conversation service."""

from functools import cached_property

from chassis.data.unit_of_work import UnitOfWork
from chassis.errors import PermissionDenied
from conversation.domain.visibility import Owner
from conversation.repositories import ConversationRepository, MessageRepository


class ConversationUnitOfWork(UnitOfWork):
    """The session, outbox and jobs of every service, and the repositories of this one."""

    @cached_property
    def conversations(self) -> ConversationRepository:
        return ConversationRepository(self.session, self.organization_id)

    @cached_property
    def messages(self) -> MessageRepository:
        return MessageRepository(self.session, self.organization_id)

    @property
    def owner(self) -> Owner:
        """Whose conversations the caller makes and sees.

        Raises PermissionDenied for a caller that stands for no person.
        """
        if self.actor.principal_id is None:
            raise PermissionDenied
        return Owner(principal_id=self.actor.principal_id, end_user=self.actor.end_user or "")
