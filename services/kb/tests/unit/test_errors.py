"""Reasons in code and in the contract are the same."""

import inspect

from chassis.errors import FleetError
from definable.kb.v1.errors_pb2 import KbErrorReason
from kb.domain import errors

PREFIX = "KB_ERROR_REASON_"


def test_every_reason_is_in_the_contract_and_every_value_is_raised() -> None:
    ours = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    reasons = {kind.reason for kind in ours if issubclass(kind, FleetError)}

    assert {PREFIX + reason for reason in reasons} == set(KbErrorReason.keys()) - {f"{PREFIX}UNSPECIFIED"}
