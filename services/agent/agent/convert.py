"""Between messages of the contract, the domain, and rows."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct

from agent import models
from agent.application.runs import Answerer
from agent.domain import definition as domain
from agent.domain import ids, states, steps
from agent.domain.journal import Reading
from agent.domain.models import ModelSpec
from agent.domain.ports import JournalEvent
from chassis.data.database import etag
from chassis.rpc.times import timestamp
from definable.agent.v1 import agent_service_pb2 as agent_pb
from definable.agent.v1 import definition_pb2 as definition_pb
from definable.agent.v1 import model_service_pb2 as model_pb
from definable.agent.v1 import run_service_pb2 as run_pb

_MODES = {
    definition_pb.RETRIEVAL_MODE_DENSE: "dense",
    definition_pb.RETRIEVAL_MODE_LEXICAL: "lexical",
    definition_pb.RETRIEVAL_MODE_HYBRID: "hybrid",
}
_POLICIES = {
    definition_pb.TOOL_USE_POLICY_ALLOW: domain.ALLOW,
    definition_pb.TOOL_USE_POLICY_ASK: domain.ASK,
    definition_pb.TOOL_USE_POLICY_DENY: domain.DENY,
}
_SHOWN_MODES = {text: number for number, text in _MODES.items()}
_SHOWN_POLICIES = {text: number for number, text in _POLICIES.items()}
_RUN_STATES = {
    states.QUEUED: run_pb.RUN_STATE_QUEUED,
    states.RUNNING: run_pb.RUN_STATE_RUNNING,
    states.REQUIRES_ACTION: run_pb.RUN_STATE_REQUIRES_ACTION,
    states.COMPLETED: run_pb.RUN_STATE_COMPLETED,
    states.FAILED: run_pb.RUN_STATE_FAILED,
    states.CANCELLED: run_pb.RUN_STATE_CANCELLED,
}
_READ_RUN_STATES = {number: text for text, number in _RUN_STATES.items()}
_STEP_STATES = {
    steps.RUNNING: run_pb.RUN_STEP_STATE_RUNNING,
    steps.WAITING: run_pb.RUN_STEP_STATE_WAITING,
    steps.SUCCEEDED: run_pb.RUN_STEP_STATE_SUCCEEDED,
    steps.FAILED: run_pb.RUN_STEP_STATE_FAILED,
    steps.CANCELLED: run_pb.RUN_STEP_STATE_CANCELLED,
}
_STEP_KINDS = {
    steps.RETRIEVAL: run_pb.RUN_STEP_KIND_RETRIEVAL,
    steps.MODEL: run_pb.RUN_STEP_KIND_MODEL,
    steps.TOOL: run_pb.RUN_STEP_KIND_TOOL,
}
_ACTION_KINDS = {
    steps.APPROVAL: run_pb.REQUIRED_ACTION_KIND_APPROVAL,
    steps.OUTCOME_UNKNOWN: run_pb.REQUIRED_ACTION_KIND_OUTCOME_UNKNOWN,
}


# -- definitions ----------------------------------------------------------------------------------------------------


def read_definition(message: definition_pb.AgentDefinition) -> domain.Definition:
    """Read a definition as a client wrote it."""
    return domain.Definition(
        instructions=message.instructions,
        model=message.model,
        parameters=_read_parameters(message.parameters),
        knowledge_base_ids=tuple(message.knowledge_base_ids),
        retrieval=domain.Retrieval(mode=_MODES.get(message.retrieval.mode, ""), top_k=message.retrieval.top_k),
        tools=tuple(
            domain.ToolGrant(tool_id=tool.tool_id, policy=_POLICIES.get(tool.policy, "")) for tool in message.tools
        ),
        limits=_read_limits(message.limits),
    )


def _read_parameters(message: definition_pb.ModelParameters) -> domain.Parameters:
    return domain.Parameters(
        temperature=message.temperature if message.HasField("temperature") else None,
        top_p=message.top_p if message.HasField("top_p") else None,
        max_output_tokens=message.max_output_tokens,
    )


def _read_limits(message: definition_pb.RunLimits) -> domain.Limits:
    return domain.Limits(
        max_steps=message.max_steps,
        max_tokens=message.max_tokens,
        max_cost_nano_usd=message.max_cost_nano_usd,
        max_duration_seconds=message.max_duration.ToTimedelta().total_seconds(),
    )


def definition(read: domain.Definition) -> definition_pb.AgentDefinition:
    """Write a definition as its author wrote it: what was not set is not set."""
    return definition_pb.AgentDefinition(
        instructions=read.instructions,
        model=read.model,
        parameters=_parameters(read.parameters),
        knowledge_base_ids=read.knowledge_base_ids,
        retrieval=_retrieval(read.retrieval),
        tools=[
            definition_pb.ToolUse(
                tool_id=tool.tool_id,
                policy=_SHOWN_POLICIES.get(tool.policy, definition_pb.TOOL_USE_POLICY_UNSPECIFIED),
            )
            for tool in read.tools
        ],
        limits=_limits(read.limits),
    )


def _parameters(read: domain.Parameters) -> definition_pb.ModelParameters | None:
    if read == domain.Parameters():
        return None
    return definition_pb.ModelParameters(
        temperature=read.temperature, top_p=read.top_p, max_output_tokens=read.max_output_tokens
    )


def _retrieval(read: domain.Retrieval) -> definition_pb.RetrievalSettings | None:
    if read == domain.Retrieval():
        return None
    mode = _SHOWN_MODES.get(read.mode, definition_pb.RETRIEVAL_MODE_UNSPECIFIED)
    return definition_pb.RetrievalSettings(mode=mode, top_k=read.top_k)


def _limits(read: domain.Limits) -> definition_pb.RunLimits | None:
    if read == domain.Limits():
        return None
    limits = definition_pb.RunLimits(
        max_steps=read.max_steps, max_tokens=read.max_tokens, max_cost_nano_usd=read.max_cost_nano_usd
    )
    if read.max_duration_seconds:
        limits.max_duration.FromTimedelta(read.duration)
    return limits


# -- agents and models ----------------------------------------------------------------------------------------------


def agent(row: models.Agent) -> agent_pb.Agent:
    """Write an agent with its draft."""
    return agent_pb.Agent(
        id=ids.AGENT.show(row.id),
        display_name=row.display_name,
        description=row.description,
        definition=definition(domain.Definition.from_json(row.definition)),
        published_version=row.published_version,
        creator=row.creator,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        etag=etag(row),
    )


def agent_version(row: models.AgentVersion) -> agent_pb.AgentVersion:
    """Write a published version."""
    return agent_pb.AgentVersion(
        id=ids.AGENT_VERSION.show(row.id),
        agent_id=ids.AGENT.show(row.agent_id),
        version=row.version,
        definition=definition(domain.Definition.from_json(row.definition)),
        note=row.note,
        creator=row.creator,
        create_time=timestamp(row.create_time),
    )


def model(spec: ModelSpec, *, is_default: bool) -> model_pb.Model:
    """Write a model."""
    return model_pb.Model(
        id=spec.id,
        provider=spec.provider,
        display_name=spec.display_name,
        description=spec.description,
        context_tokens=spec.context_tokens,
        input_token_nano_usd=spec.input_nano_usd,
        output_token_nano_usd=spec.output_nano_usd,
        is_default=is_default,
        modalities=["text"],
    )


# -- runs -----------------------------------------------------------------------------------------------------------


def read_answerer(request: run_pb.CreateRunRequest | run_pb.StartRunRequest, *, version: int = 0) -> Answerer:
    """Read what is to answer. Raises InvalidId."""
    match request.WhichOneof("answerer"):
        case "agent_id":
            return Answerer(agent_id=ids.AGENT.parse(request.agent_id, field="agent_id"), version=version)
        case "definition":
            return Answerer(definition=read_definition(request.definition))
        case _:
            return Answerer(model=request.model)


def read_history(request: run_pb.CreateRunRequest | run_pb.StartRunRequest) -> list[dict[str, Any]]:
    """Read earlier turns as runs store them."""
    return [
        {"role": "assistant" if turn.role == run_pb.CHAT_ROLE_ASSISTANT else "user", "text": turn.text}
        for turn in request.history
    ]


def read_run_state(state: int) -> str:
    """Read a filter; "" for none."""
    return _READ_RUN_STATES.get(run_pb.RunState.ValueType(state), "")


def run(row: models.Run, *, with_content: bool = True) -> run_pb.Run:
    """Write a run; for lists without what may be long."""
    return run_pb.Run(
        id=ids.RUN.show(row.id),
        agent_id=ids.AGENT.show(row.agent_id) if row.agent_id else "",
        agent_version=row.agent_version,
        model=row.model,
        state=_RUN_STATES[row.state],
        error_reason=row.error_reason,
        error_message=row.error_message,
        required_action=_required_action(row.required_action),
        input=row.input if with_content else "",
        output_text=row.output_text if with_content else "",
        citations=[citation(each) for each in row.citations] if with_content else [],
        usage=_usage(row),
        step_count=row.step_count,
        conversation_id=ids.CONVERSATION.show(row.conversation_id) if row.conversation_id else "",
        message_id=ids.MESSAGE.show(row.message_id) if row.message_id else "",
        owner_id=ids.USER.show(row.owner_id),
        end_user=row.end_user,
        create_time=timestamp(row.create_time),
        start_time=timestamp(row.start_time),
        end_time=timestamp(row.end_time),
    )


def run_output(row: models.Run, reading: Reading) -> run_pb.RunOutput:
    """Write what a run has answered."""
    return run_pb.RunOutput(
        run_id=ids.RUN.show(row.id),
        state=_RUN_STATES[row.state],
        text=reading.text,
        citations=[citation(each) for each in reading.citations],
        usage=_usage(row),
        error_reason=row.error_reason,
    )


def citation(stored: Mapping[str, Any]) -> run_pb.Citation:
    """Write a citation; what else its event carried is left out."""
    return run_pb.Citation(**{name: stored[name] for name in run_pb.Citation.DESCRIPTOR.fields_by_name})


def _required_action(stored: Mapping[str, Any] | None) -> run_pb.RequiredAction | None:
    if stored is None:
        return None
    return run_pb.RequiredAction(
        kind=_ACTION_KINDS[stored["kind"]],
        call_id=stored["call_id"],
        tool_id=stored["tool_id"],
        tool_name=stored["tool_name"],
        arguments=struct(stored["arguments"]),
    )


def run_step(row: models.RunStep) -> run_pb.RunStep:
    """Write a step."""
    return run_pb.RunStep(
        step=row.step,
        attempt=row.attempt,
        kind=_STEP_KINDS[row.kind],
        state=_STEP_STATES[row.state],
        name=row.name,
        call_id=row.call_id,
        input=struct(row.input),
        output=struct(row.output),
        usage=_usage(row),
        error_reason=row.error_reason,
        start_time=timestamp(row.start_time),
        end_time=timestamp(row.end_time),
    )


def run_event(event: JournalEvent) -> run_pb.RunEvent:
    """Write an entry of a journal."""
    return run_pb.RunEvent(seq=event.seq, type=event.type, data=struct(event.data), time=timestamp(event.time))


def struct(values: Mapping[str, Any]) -> Struct:
    """Write JSON."""
    written = Struct()
    written.update(dict(values))
    return written


def _usage(row: models.Run | models.RunStep) -> run_pb.RunUsage:
    return run_pb.RunUsage(
        input_tokens=row.input_tokens, output_tokens=row.output_tokens, cost_nano_usd=row.cost_nano_usd
    )
