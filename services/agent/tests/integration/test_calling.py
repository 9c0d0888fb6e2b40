"""Tool calls: policies, approvals, mistakes of the model, failures of the tools."""

import pytest

from chassis.errors import DependencyUnavailable
from chassis.rpc.caller import Caller
from chassis.testing import refused
from definable.agent.v1 import run_service_pb2 as pb

from .fakes import ExecutionOutcomeUnknown  # noqa: TID252
from .running import Event, Fleet, call, say, script, text_of  # noqa: TID252


def completed_calls(events: list[Event]) -> list[dict[str, object]]:
    return [event.data for event in events if event.type == "tool_call.completed"]


async def resolve(agent: Fleet, caller: Caller, run_id: str, decision: pb.RunDecision.ValueType) -> pb.Run:
    call_id = (await agent.get(caller, run_id)).required_action.call_id
    request = pb.ResolveRunRequest(id=run_id, call_id=call_id, decision=decision)
    run: pb.Run = await agent.runs(caller).ResolveRun(request)
    return run


class TestCall:
    async def test_gives_the_result_to_the_model(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, '/tool calculator {"expression": "2+2"}', tools=["calculator"])
        events = await agent.events(owner, run_id)

        assert text_of(events) == 'calculator returned: {"arguments":{"expression":"2+2"},"value":4}'
        executed = agent.tools.executed(run_id)
        assert [(each.arguments["expression"], each.run_id) for each in executed] == [("2+2", run_id)]
        steps = await agent.steps(owner, run_id)
        kinds = [pb.RUN_STEP_KIND_MODEL, pb.RUN_STEP_KIND_TOOL, pb.RUN_STEP_KIND_MODEL]
        assert [step.kind for step in steps] == kinds
        assert steps[1].call_id == executed[0].call_id

    async def test_makes_all_calls_of_one_answer_in_order(self, agent: Fleet, owner: Caller) -> None:
        both = {"calls": [call("calculator", expression="1"), call("book", what="2")]}

        events = await agent.run(owner, script(both, say("Done.")), tools=["calculator", "book"])

        assert [done["name"] for done in completed_calls(events)] == ["calculator", "book"]
        assert text_of(events) == "Done."

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("/tool unknown {}", "TOOL_UNKNOWN"),
            ("/tool forbidden {}", "TOOL_UNKNOWN"),
            ("/tool calculator not json", "ARGUMENTS_INVALID"),
            ('/tool calculator {"expression": NaN}', "ARGUMENTS_INVALID"),
            (f'/tool calculator {{"expression": {10**30}}}', "ARGUMENTS_INVALID"),
            (f'/tool calculator {{"expression": {"[" * 60 + "]" * 60}}}', "ARGUMENTS_INVALID"),
            ('/tool calculator {"expression": "1/0"}', "TOOL_FAILED"),
            ('/tool knowledge_search {"query": "x"}', "TOOL_UNKNOWN"),
        ],
    )
    async def test_tells_the_model_what_it_did_wrong(self, agent: Fleet, owner: Caller, line: str, reason: str) -> None:
        events = await agent.run(owner, line, tools=["calculator", "forbidden"])

        assert [(done["is_error"], done["error_reason"]) for done in completed_calls(events)] == [(True, reason)]
        assert events[-1].type == "run.completed"

    @pytest.mark.parametrize("arguments", [{"query": 3}, {"query": " "}, {"query": "x", "top_k": 99}, {"top_k": 1}])
    async def test_checks_what_the_model_searches_for(
        self, agent: Fleet, owner: Caller, arguments: dict[str, object]
    ) -> None:
        events = await agent.run(owner, script(call("knowledge_search", **arguments)), knows=True)

        assert completed_calls(events)[0]["error_reason"] == "ARGUMENTS_INVALID"

    async def test_fails_when_a_tool_does_not_exist(self, agent: Fleet, owner: Caller) -> None:
        gone = agent.tools.tools.pop("book")
        agent.tools.tools["book2"] = type(gone)(tool_id="tool_00000000000000000000000001", name="book2")
        definition = agent.definition(tools=["calculator"])
        definition.tools[0].tool_id = gone.tool_id

        reply = await agent.runs(owner).CreateRun(pb.CreateRunRequest(input="x", definition=definition))
        events = await agent.events(owner, reply.run_id)

        agent.tools.tools["book"] = gone
        del agent.tools.tools["book2"]
        assert events[-1].data["reason"] == "TOOL_NOT_FOUND"


class TestRepetition:
    async def test_repeats_a_harmless_call_under_one_key(self, agent: Fleet, owner: Caller) -> None:
        agent.tools.failures.append(DependencyUnavailable(dependency="tool"))

        run_id = await agent.start(owner, script(call("book"), say("Done.")), tools=["book"])
        events = await agent.events(owner, run_id)

        executed = agent.tools.executed(run_id)
        assert (len(executed), len({each.idempotency_key for each in executed})) == (2, 1)
        assert (events[-1].type, text_of(events)) == ("run.completed", "Done.")

    @pytest.mark.parametrize("failure", [DependencyUnavailable(dependency="tool"), ExecutionOutcomeUnknown()])
    async def test_asks_a_person_before_it_repeats_one_that_may_have_happened(
        self, agent: Fleet, owner: Caller, failure: Exception
    ) -> None:
        agent.tools.failures.append(failure)

        run_id = await agent.start(owner, script(call("send_mail"), say("Done.")), tools=["send_mail"])
        events = await agent.events(owner, run_id)

        assert (events[-1].type, events[-1].data["kind"]) == ("run.requires_action", "outcome_unknown")
        assert len(agent.tools.executed(run_id)) == 1
        await resolve(agent, owner, run_id, pb.RUN_DECISION_DENY)
        rest = await agent.events(owner, run_id, after=events[-1].seq)
        assert completed_calls(rest)[0]["error_reason"] == "OUTCOME_UNKNOWN"
        assert (rest[-1].type, len(agent.tools.executed(run_id))) == ("run.completed", 1)


class TestApproval:
    async def test_waits_and_goes_on_when_allowed(self, agent: Fleet, owner: Caller) -> None:
        text = script(call("delete", what="all"), say("Gone."))
        run_id = await agent.start(owner, text, tools=["delete"])
        events = await agent.events(owner, run_id)

        assert [event.type for event in events[-2:]] == ["tool_call.requires_approval", "run.requires_action"]
        assert events[-1].data["arguments"] == {"what": "all"}
        assert agent.tools.executed(run_id) == []
        run = await agent.get(owner, run_id)
        assert (run.state, run.required_action.tool_name) == (pb.RUN_STATE_REQUIRES_ACTION, "delete")

        assert (await resolve(agent, owner, run_id, pb.RUN_DECISION_APPROVE)).state == pb.RUN_STATE_QUEUED
        rest = await agent.events(owner, run_id, after=events[-1].seq)

        assert rest[-1].type == "run.completed"
        assert len(agent.tools.executed(run_id)) == 1
        assert [event.seq for event in [*events, *rest]] == list(range(1, len(events) + len(rest) + 1))

    async def test_tells_the_model_when_denied(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, "/tool delete {}", tools=["delete"])
        events = await agent.events(owner, run_id)

        await resolve(agent, owner, run_id, pb.RUN_DECISION_DENY)
        rest = await agent.events(owner, run_id, after=events[-1].seq)

        assert completed_calls(rest)[0]["error_reason"] == "CALL_DENIED"
        assert (rest[-1].type, agent.tools.executed(run_id)) == ("run.completed", [])

    async def test_is_asked_for_by_the_agent_as_well_as_by_the_tool(self, agent: Fleet, owner: Caller) -> None:
        events = await agent.run(owner, "/tool calculator {}", tools=["calculator"], ask=["calculator"])

        assert events[-1].data["kind"] == "approval"

    async def test_asks_for_each_call(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, script(call("delete", n=1), call("delete", n=2), say("x")), tools=["delete"])
        seen, asked = 0, 0
        while (events := await agent.events(owner, run_id, after=seen))[-1].type == "run.requires_action":
            seen, asked = events[-1].seq, asked + 1
            await resolve(agent, owner, run_id, pb.RUN_DECISION_APPROVE)

        assert (asked, events[-1].type) == (2, "run.completed")

    async def test_refuses_answers_that_nobody_asked_for(self, agent: Fleet, owner: Caller, member: Caller) -> None:
        run_id = await agent.start(owner, "/tool delete {}", tools=["delete"])
        await agent.events(owner, run_id)
        other = pb.ResolveRunRequest(id=run_id, call_id="call_9_9", decision=pb.RUN_DECISION_APPROVE)

        with refused("CALL_NOT_WAITING"):
            await agent.runs(owner).ResolveRun(other)
        with refused("RUN_NOT_FOUND"):
            await agent.runs(member).ResolveRun(other)
        with refused("VALIDATION_FAILED"):
            await resolve(agent, owner, run_id, pb.RUN_DECISION_UNSPECIFIED)
        await resolve(agent, owner, run_id, pb.RUN_DECISION_DENY)
        with refused("RUN_NOT_WAITING"):
            await agent.runs(owner).ResolveRun(other)
