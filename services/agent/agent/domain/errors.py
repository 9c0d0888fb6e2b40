"""What can go wrong with agents and runs. Reasons are the values of AgentErrorReason."""

from chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)


class AgentNotFound(NotFound):
    """No agent of the organization has this id."""

    reason = "AGENT_NOT_FOUND"


class AgentNameTaken(AlreadyExists):
    """Another agent of the organization has this name."""

    reason = "AGENT_NAME_TAKEN"


class AgentNotPublished(FailedPrecondition):
    """The agent has no published version; publish it first."""

    reason = "AGENT_NOT_PUBLISHED"


class AgentVersionNotFound(NotFound):
    """The agent has no version of this number."""

    reason = "AGENT_VERSION_NOT_FOUND"


class AgentDefinitionInvalid(InvalidArgument):
    """The agent's definition cannot run as it is."""

    reason = "AGENT_DEFINITION_INVALID"


class ModelNotFound(NotFound):
    """No configured model has this id."""

    reason = "MODEL_NOT_FOUND"


class RunNotFound(NotFound):
    """No run has this id."""

    reason = "RUN_NOT_FOUND"


class RunIdTaken(AlreadyExists):
    """The run id is taken."""

    reason = "RUN_ID_TAKEN"


class RunNotWaiting(FailedPrecondition):
    """The run waits for nothing."""

    reason = "RUN_NOT_WAITING"


class CallNotWaiting(FailedPrecondition):
    """The run waits, but not for this call."""

    reason = "CALL_NOT_WAITING"


class StepLimitReached(ResourceExhausted):
    """The run took as many steps as its limits allow."""

    reason = "STEP_LIMIT_REACHED"


class TokenLimitReached(ResourceExhausted):
    """The run used as many tokens as its limits allow."""

    reason = "TOKEN_LIMIT_REACHED"


class CostLimitReached(ResourceExhausted):
    """The run cost as much as its limits allow."""

    reason = "COST_LIMIT_REACHED"


class TimeLimitReached(ResourceExhausted):
    """The run took as long as its limits allow."""

    reason = "TIME_LIMIT_REACHED"


class ProviderRefused(InvalidArgument):
    """The model's provider refused the request."""

    reason = "PROVIDER_REFUSED"


class ProviderUnauthenticated(FailedPrecondition):
    """The model's provider did not accept the fleet's credentials."""

    reason = "PROVIDER_UNAUTHENTICATED"


class ProviderRateLimited(ResourceExhausted):
    """The model's provider limits the fleet's rate."""

    reason = "PROVIDER_RATE_LIMITED"


class ProviderUnavailable(Unavailable):
    """The model's provider could not be reached or failed."""

    reason = "PROVIDER_UNAVAILABLE"


class BudgetExhausted(ResourceExhausted):
    """The organization's budget has nothing left for this run."""

    reason = "BUDGET_EXHAUSTED"


class RunFault(Internal):
    """The run failed because of a fault of the service."""

    reason = "RUN_FAULT"
