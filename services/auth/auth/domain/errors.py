"""What can go wrong in auth. Each reason is a value of AuthErrorReason in errors.proto."""

from chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)


class EmailTaken(AlreadyExists):
    """Somebody has signed up with this e-mail address."""

    reason = "EMAIL_TAKEN"


class CredentialsInvalid(Unauthenticated):
    """The e-mail address and the password don't belong together."""

    reason = "CREDENTIALS_INVALID"


class CredentialInvalid(Unauthenticated):
    """The credential is malformed, mistyped or unknown."""

    reason = "CREDENTIAL_INVALID"


class CredentialRevoked(Unauthenticated):
    """The credential was revoked."""

    reason = "CREDENTIAL_REVOKED"


class AddressNotAllowed(PermissionDenied):
    """The key may not be used from this address."""

    reason = "ADDRESS_NOT_ALLOWED"


class RefreshTokenInvalid(Unauthenticated):
    """The refresh token is unknown or expired, or its session has ended."""

    reason = "REFRESH_TOKEN_INVALID"


class RefreshTokenReused(Unauthenticated):
    """The refresh token was used before; the session has been ended."""

    reason = "REFRESH_TOKEN_REUSED"


class SessionRequired(PermissionDenied):
    """Only a logged-in user can do this."""

    reason = "SESSION_REQUIRED"


class OrganizationNotFound(NotFound):
    """The caller has no such organization."""

    reason = "ORGANIZATION_NOT_FOUND"


class ApiKeyNotFound(NotFound):
    """The organization has no such key."""

    reason = "API_KEY_NOT_FOUND"


class ApiKeyRevoked(FailedPrecondition):
    """The key was revoked and can't be changed any more."""

    reason = "API_KEY_REVOKED"


class ApiKeyOfAnother(PermissionDenied):
    """Only who made the key changes what it may do; others rename or revoke it."""

    reason = "API_KEY_OF_ANOTHER"


class ScopeUnknown(InvalidArgument):
    """A scope matches no permission."""

    reason = "SCOPE_UNKNOWN"


class ScopeNotHeld(PermissionDenied):
    """The caller lacks what a scope would grant."""

    reason = "SCOPE_NOT_HELD"


class ScopesTooLong(InvalidArgument):
    """What the credential may do is more than a token can list."""

    reason = "SCOPES_TOO_LONG"


class AddressRangeInvalid(InvalidArgument):
    """An allowed address is neither an address nor a network."""

    reason = "ADDRESS_RANGE_INVALID"


class ExpiryInPast(InvalidArgument):
    """The expiry is not in the future."""

    reason = "EXPIRY_IN_PAST"


class DelegationNotAllowed(PermissionDenied):
    """This process may not act for such an actor."""

    reason = "DELEGATION_NOT_ALLOWED"


class ActorRightsLost(PermissionDenied):
    """The actor left the organization, or its key ended."""

    reason = "ACTOR_RIGHTS_LOST"


class RotationUnfinished(FailedPrecondition):
    """Two keys of the set are published already; the older one has to retire first."""

    reason = "ROTATION_UNFINISHED"
