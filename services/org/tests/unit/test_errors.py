"""Errors and the contract name the same reasons."""

from chassis.errors import FleetError
from definable.org.v1.errors_pb2 import OrgErrorReason
from org.domain import errors

PREFIX = "ORG_ERROR_REASON_"


def test_every_reason_of_the_contract_is_raised_and_no_other() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    reasons = {kind.reason for kind in kinds if issubclass(kind, FleetError)}

    assert reasons == {name.removeprefix(PREFIX) for name, number in OrgErrorReason.items() if number}


def test_every_error_says_what_is_wrong_and_belongs_to_org() -> None:
    error = errors.LastOwner()

    assert error.message == "The organization would be left without an owner."
    assert error.domain == "org"
