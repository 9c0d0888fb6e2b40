"""The reasons in code and those in the contract are the same."""

import inspect

from auth.domain import errors
from chassis.errors import FleetError
from definable.auth.v1.errors_pb2 import AuthErrorReason

PREFIX = "AUTH_ERROR_REASON_"


def test_each_error_has_a_reason_of_the_contract_and_each_reason_an_error() -> None:
    ours = {
        kind.reason
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, FleetError) and kind.__module__ == errors.__name__
    }
    assert ours == {value.name.removeprefix(PREFIX) for value in AuthErrorReason.DESCRIPTOR.values} - {"UNSPECIFIED"}
