"""What can go wrong in org, once. Each reason is a value of OrgErrorReason in errors.proto."""

from typing import ClassVar

from chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
)


class OrganizationNotFound(NotFound):
    """The organization does not exist."""

    reason: ClassVar[str] = "ORGANIZATION_NOT_FOUND"


class OrganizationSlugTaken(AlreadyExists):
    """Another organization has this slug."""

    reason: ClassVar[str] = "ORGANIZATION_SLUG_TAKEN"


class OrganizationIdTaken(AlreadyExists):
    """Another user provisioned an organization with this id."""

    reason: ClassVar[str] = "ORGANIZATION_ID_TAKEN"


class MemberNotFound(NotFound):
    """The user is not a member of the organization."""

    reason: ClassVar[str] = "MEMBER_NOT_FOUND"


class MemberExists(AlreadyExists):
    """The person already is a member of the organization."""

    reason: ClassVar[str] = "MEMBER_EXISTS"


class MemberAboveOwnRank(PermissionDenied):
    """The member's rank is above your own."""

    reason: ClassVar[str] = "MEMBER_ABOVE_OWN_RANK"


class RoleAboveOwnRank(PermissionDenied):
    """The role is above your own rank."""

    reason: ClassVar[str] = "ROLE_ABOVE_OWN_RANK"


class RoleUnknown(InvalidArgument):
    """There is no role of that name."""

    reason: ClassVar[str] = "ROLE_UNKNOWN"


class LastOwner(FailedPrecondition):
    """The organization would be left without an owner."""

    reason: ClassVar[str] = "LAST_OWNER"


class UserCredentialRequired(PermissionDenied):
    """Only a user who is logged in can do this."""

    reason: ClassVar[str] = "USER_CREDENTIAL_REQUIRED"


class FieldCannotBeEmpty(InvalidArgument):
    """The field cannot be empty."""

    reason: ClassVar[str] = "FIELD_CANNOT_BE_EMPTY"


class FeedSequenceExpired(OutOfRange):
    """Events after this sequence are no longer kept."""

    reason: ClassVar[str] = "FEED_SEQUENCE_EXPIRED"


class BudgetReservationNotFound(NotFound):
    """The reservation does not exist."""

    reason: ClassVar[str] = "BUDGET_RESERVATION_NOT_FOUND"


class BudgetReservationClosed(FailedPrecondition):
    """The reservation was settled or has expired."""

    reason: ClassVar[str] = "BUDGET_RESERVATION_CLOSED"


class UsagePeriodInvalid(InvalidArgument):
    """The period has to end after it starts and last 366 days at most."""

    reason: ClassVar[str] = "USAGE_PERIOD_INVALID"
