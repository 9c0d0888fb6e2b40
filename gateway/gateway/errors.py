"""What the gateway itself refuses. Reasons are values of `CommonErrorReason`; statuses are in `problems`."""

from chassis.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unimplemented,
)


class RouteNotFound(NotFound):
    """There is no such route."""

    reason = "ROUTE_NOT_FOUND"


class MethodNotAllowed(Unimplemented):
    """The route does not take this method."""

    reason = "METHOD_NOT_ALLOWED"


class MalformedBody(InvalidArgument):
    """The body is not what its content type says."""

    reason = "MALFORMED_BODY"


class BodyTooLarge(InvalidArgument):
    """The body is larger than this route takes."""

    reason = "BODY_TOO_LARGE"


class UnsupportedMediaType(InvalidArgument):
    """The route does not take a body of this content type."""

    reason = "UNSUPPORTED_MEDIA_TYPE"


class NotAcceptable(InvalidArgument):
    """The route cannot answer in any of the accepted content types."""

    reason = "NOT_ACCEPTABLE"


class UploadInvalid(InvalidArgument):
    """The parts of the upload are missing, doubled or in the wrong order."""

    reason = "UPLOAD_INVALID"


class TooManyInFlight(ResourceExhausted):
    """The gateway has all the requests in flight that it takes."""

    reason = "TOO_MANY_IN_FLIGHT"


class AddressNotAllowed(PermissionDenied):
    """The credential may not be used from this address."""

    reason = "ADDRESS_NOT_ALLOWED"


class MalformedRequest(InvalidArgument):
    """What arrived is not an HTTP request."""

    reason = "MALFORMED_BODY"


class HeadersTooLarge(InvalidArgument):
    """The headers of the request are larger than the gateway takes."""

    reason = "HEADERS_TOO_LARGE"


class UrlTooLong(InvalidArgument):
    """The URL of the request is longer than the gateway takes."""

    reason = "URL_TOO_LONG"


class HeadersTooSlow(DeadlineExceeded):
    """The headers of the request did not arrive in time."""

    reason = "HEADERS_TOO_SLOW"
