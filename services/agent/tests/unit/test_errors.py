from agent.domain import errors
from chassis.errors import FleetError
from definable.agent.v1.errors_pb2 import AgentErrorReason


def test_every_error_has_a_reason_of_the_contract() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FleetError)]
    raised = {kind.reason for kind in kinds if kind.__module__ == errors.__name__}
    named = AgentErrorReason.DESCRIPTOR.values_by_name
    documented = {name.removeprefix("AGENT_ERROR_REASON_") for name in named} - {"UNSPECIFIED"}

    assert raised == documented
