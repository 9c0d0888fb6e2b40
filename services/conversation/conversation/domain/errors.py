"""What can go wrong with conversations; the reasons are the values of ConversationErrorReason."""

from chassis.errors import FailedPrecondition, InvalidArgument, NotFound


class ConversationNotFound(NotFound):
    """No conversation with this id."""

    reason = "CONVERSATION_NOT_FOUND"


class MessageNotFound(NotFound):
    """No message with this id."""

    reason = "MESSAGE_NOT_FOUND"


class AnswerInProgress(FailedPrecondition):
    """The conversation is being answered; wait for the answer or stop it."""

    reason = "ANSWER_IN_PROGRESS"


class ConversationArchived(FailedPrecondition):
    """The conversation is archived; take it out of the archive first."""

    reason = "CONVERSATION_ARCHIVED"


class AnswerNotInProgress(FailedPrecondition):
    """The message is no answer in progress."""

    reason = "ANSWER_NOT_IN_PROGRESS"


class AnswererInvalid(InvalidArgument):
    """Give either agent_id or model."""

    reason = "ANSWERER_INVALID"


# Stored with an answer whose run never came to be; never raised.
RUN_NOT_STARTED = "RUN_NOT_STARTED"
