"""The tree of errors, and its way over the wire and back."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import errors
from chassis.errors import Code, DependencyUnavailable, FleetError, InvalidId, NotFound, ValidationFailed, Violation
from chassis.rpc.status import MAX_BYTES, MAX_VIOLATIONS, from_status, to_status
from definable.options.v1.errors_pb2 import CommonErrorReason


class DocumentNotFound(NotFound):
    """There is no such document.

    Nor is there one of another organization, as far as anybody is told.
    """

    reason = "DOCUMENT_NOT_FOUND"


class TestFleetError:
    def test_says_the_first_line_of_its_docstring(self) -> None:
        assert DocumentNotFound(id="doc_1").message == "There is no such document."

    def test_keeps_metadata_as_text_and_leaves_out_what_is_not_known(self) -> None:
        assert DocumentNotFound(id="doc_1", version=3, page=None).metadata == {"id": "doc_1", "version": "3"}

    def test_belongs_to_the_package_that_defines_it(self) -> None:
        assert DependencyUnavailable(dependency="auth").domain == "fleet"
        assert type("X", (NotFound,), {"__module__": "kb.domain.errors"})().domain == "kb"

    @pytest.mark.parametrize(
        ("error", "is_retryable"),
        [
            (DependencyUnavailable(dependency="org"), True),
            (errors.RateLimited(), True),
            (errors.EtagMismatch(), True),
            (DocumentNotFound(), False),
            (errors.PermissionMissing(), False),
            (InvalidId(field="id", expected="kb"), False),
        ],
    )
    def test_knows_whether_a_second_attempt_may_end_differently(self, error: FleetError, is_retryable: bool) -> None:
        assert error.is_retryable is is_retryable

    def test_common_reasons_are_those_of_the_contract(self) -> None:
        prefix = "COMMON_ERROR_REASON_"
        known = {name.removeprefix(prefix) for name in CommonErrorReason.keys()}  # noqa: SIM118  # no dictionary
        classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FleetError)]

        assert {kind.reason for kind in classes} <= known

    def test_every_code_has_a_class(self) -> None:
        bases = {kind.code for kind in FleetError.__subclasses__() if kind.__module__ == "chassis.errors"}

        assert bases == set(Code)


class TestStatus:
    def test_carries_everything_there_and_back(self) -> None:
        error = DocumentNotFound(
            violations=[Violation("ids[2]", "is unknown", "id")], retry_after=timedelta(seconds=1.5), id="doc_1"
        )

        back = from_status(to_status(error))

        assert (back.code, back.reason, back.message) == (error.code, error.reason, error.message)
        assert (back.violations, back.retry_after, back.metadata) == (
            error.violations,
            error.retry_after,
            error.metadata,
        )
        assert back.domain == error.domain
        assert not back.is_retryable

    @given(
        st.lists(st.builds(Violation, st.text(), st.text(), st.text(max_size=30)), max_size=60),
        st.text(),
        st.dictionaries(st.sampled_from(["id", "name", "limit"]), st.text()),
    )
    def test_is_never_larger_than_metadata_may_be(
        self, violations: list[Violation], message: str, metadata: dict[str, str]
    ) -> None:
        status = to_status(ValidationFailed(violations))
        error = DocumentNotFound(message, violations=violations)
        error.metadata = metadata
        other = to_status(error)

        assert max(status.ByteSize(), other.ByteSize()) <= MAX_BYTES
        assert len(from_status(status).violations) <= MAX_VIOLATIONS

    def test_shows_an_error_without_details_as_internal(self) -> None:
        status = to_status(DocumentNotFound())
        del status.details[:]

        assert from_status(status).reason == "INTERNAL"
