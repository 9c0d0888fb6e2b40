from agent.domain import errors
from chassis.errors import FleetError
from definable.agent.v1.errors_pb2 import AgentErrorReason


def test_every_error_has_a_reason_of_the_contract() -> None:
    raised = {
        kind.reason for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    named = AgentErrorReason.DESCRIPTOR.values_by_name
    documented = {name.removeprefix("AGENT_ERROR_REASON_") for name in named} - {"UNSPECIFIED"}

    assert raised == documented
    assert issubclass(errors.RunNotFound, FleetError)
