from datetime import timedelta

import grpc
import orjson
import pytest

from chassis.errors import (
    AlreadyExists,
    Code,
    DependencyUnavailable,
    EtagMismatch,
    FailedPrecondition,
    FleetError,
    IdempotencyKeyReused,
    NotFound,
    RateLimited,
    TokenExpired,
    ValidationFailed,
    Violation,
)
from chassis.rpc.status import grpc_code, to_status, trailing_metadata
from gateway.errors import BodyTooLarge, MalformedBody, MethodNotAllowed
from gateway.problems import STATUS_OF_CODE, from_error


def remote(error: FleetError) -> grpc.aio.AioRpcError:
    """Return an error as it comes over gRPC."""
    trailing = grpc.aio.Metadata(*trailing_metadata(to_status(error)))
    return grpc.aio.AioRpcError(grpc_code(error.code), grpc.aio.Metadata(), trailing, "internal text")


class TestStatus:
    @pytest.mark.parametrize(
        "error,status",
        [
            (ValidationFailed([]), 422),
            (MalformedBody(), 400),
            (BodyTooLarge(), 413),
            (TokenExpired(), 401),
            (NotFound(), 404),
            (MethodNotAllowed(allow="GET"), 405),
            (AlreadyExists(), 409),
            (FailedPrecondition(), 409),
            (IdempotencyKeyReused(), 422),
            (EtagMismatch(), 412),
            (RateLimited(), 429),
            (DependencyUnavailable(dependency="kb"), 503),
        ],
    )
    def test_is_the_same_from_here_and_from_a_service(self, error: FleetError, status: int) -> None:
        assert from_error(error).status == status
        assert from_error(remote(error)).status == status

    def test_is_known_for_every_code(self) -> None:
        assert {*STATUS_OF_CODE, Code.INTERNAL} == set(Code)


class TestFromError:
    def test_keeps_what_a_service_says(self) -> None:
        violations = [Violation("book.title", "is required", "required"), Violation("other.x", "is wrong", "x")]
        problem = from_error(remote(ValidationFailed(violations)), body_field="book")

        assert (problem.reason, problem.detail) == ("VALIDATION_FAILED", "The request breaks the rules of its fields.")
        assert [(v.field, v.description, v.rule) for v in problem.violations] == [
            ("title", "is required", "required"),
            ("other.x", "is wrong", "x"),
        ]

    def test_asks_to_wait(self) -> None:
        problem = from_error(remote(RateLimited(retry_after=timedelta(seconds=1.2))))

        assert dict(problem.headers())[b"retry-after"] == b"2"

    @pytest.mark.parametrize(
        "code,status,reason",
        [
            (grpc.StatusCode.UNAVAILABLE, 503, "DEPENDENCY_UNAVAILABLE"),
            (grpc.StatusCode.DEADLINE_EXCEEDED, 504, "DEADLINE_EXCEEDED"),
            (grpc.StatusCode.UNKNOWN, 500, "INTERNAL"),
            (grpc.StatusCode.DATA_LOSS, 500, "INTERNAL"),
            (grpc.StatusCode.UNIMPLEMENTED, 501, "METHOD_NOT_ALLOWED"),
        ],
    )
    def test_hides_what_grpc_says_itself(self, code: grpc.StatusCode, status: int, reason: str) -> None:
        error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "10.0.0.7:443 secret")
        problem = from_error(error, service="kb")

        assert (problem.status, problem.reason) == (status, reason)
        assert b"secret" not in problem.render(request_id="", instance="")

    def test_hides_what_an_exception_says(self) -> None:
        problem = from_error(ValueError("SELECT secret"))

        assert (problem.status, problem.reason) == (500, "INTERNAL")
        assert b"secret" not in problem.render(request_id="", instance="")


class TestRender:
    def test_is_cut_to_size(self) -> None:
        error = ValidationFailed([Violation(f"f{i}", "x", "x") for i in range(50)])
        error.message = "x" * 10_000
        body = orjson.loads(from_error(error).render(request_id="r", instance="/i"))

        assert len(body["detail"]) == 4096
        assert len(body["violations"]) == 20
