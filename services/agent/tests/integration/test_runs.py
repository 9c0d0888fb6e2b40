"""Runs from their start to their end."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from agent.domain import ids
from chassis.ids import new_id
from chassis.rpc.caller import Caller
from chassis.testing import Authority, caller_matrix, eventually, refused
from definable.agent.v1 import agent_service_pb2 as agent_pb
from definable.agent.v1 import definition_pb2 as definition_pb
from definable.agent.v1 import run_service_pb2 as pb
from definable.agent.v1.definition_pb2 import RETRIEVAL_MODE_LEXICAL, RetrievalSettings, RunLimits
from definable.agent.v1.events_pb2 import RunEnded, RunUsageRecorded
from definable.kb.v1.search_service_pb2 import SEARCH_MODE_LEXICAL
from definable.options.v1.options_pb2 import Rank

from .fakes import TEXT  # noqa: TID252
from .providers import paid_model  # noqa: TID252
from .running import Fleet, a_start, call, say, script, text_of, types_of  # noqa: TID252


class TestAnswer:
    async def test_cites_the_exact_source(self, agent: Fleet, owner: Caller) -> None:
        events = await agent.run(owner, "Why do emperor penguins huddle?", knows=True)

        answer = text_of(events)
        citations = [event.data for event in events if event.type == "message.citation"]
        assert citations
        for cited in citations:
            assert cited["text"] == TEXT[int(cited["start"]) : int(cited["end"])]
            assert answer[int(cited["answer_start"]) : int(cited["answer_end"])] == f"[{int(cited['index'])}]"

    async def test_tells_its_steps_in_order(self, agent: Fleet, owner: Caller) -> None:
        events = await agent.run(owner, "penguins huddle", knows=True)

        kinds = [kind for kind in types_of(events) if kind not in ("message.citation", "message.delta")]
        assert kinds == [
            "message.created",
            "run.started",
            "step.started",
            "retrieval.completed",
            "step.completed",
            "step.started",
            "usage",
            "step.completed",
            "message.completed",
            "run.completed",
        ]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))

    async def test_searches_as_the_definition_says_and_as_the_caller(self, agent: Fleet, member: Caller) -> None:
        retrieval = RetrievalSettings(mode=RETRIEVAL_MODE_LEXICAL, top_k=2)

        events = await agent.run(member, "penguins", knows=True, retrieval=retrieval)

        assert (agent.kb.searches[-1].mode, agent.kb.searches[-1].top_k) == (SEARCH_MODE_LEXICAL, 2)
        assert agent.kb.callers[-1] == member.subject
        assert len(next(event for event in events if event.type == "retrieval.completed").data["hits"]) == 2

    async def test_is_stored_as_it_was_streamed(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, "penguins huddle", knows=True)
        events = await agent.events(owner, run_id)

        run = await agent.get(owner, run_id)

        assert run.state == pb.RUN_STATE_COMPLETED
        assert run.output_text == text_of(events)
        assert len(run.citations) == sum(event.type == "message.citation" for event in events) > 0
        assert (run.usage.output_tokens > 0, run.step_count) == (True, 2)

    async def test_searches_again_when_the_model_asks_for_it(self, agent: Fleet, owner: Caller) -> None:
        text = script(call("knowledge_search", query="ducks", top_k=1), say("Ducks [2] swim."))

        events = await agent.run(owner, text, knows=True, retrieval=RetrievalSettings(top_k=1))

        found = [event.data["hits"][0] for event in events if event.type == "retrieval.completed"]
        assert [hit["index"] for hit in found] == [1, 2]
        cited = next(event.data for event in events if event.type == "message.citation")
        assert cited["text"] == "Ducks swim on ponds. Their feathers are oiled."

    async def test_sees_the_history(self, agent: Fleet, owner: Caller) -> None:
        request = pb.CreateRunRequest(
            input="And now?",
            history=[
                pb.ChatTurn(role=pb.CHAT_ROLE_USER, text="one two three"),
                pb.ChatTurn(role=pb.CHAT_ROLE_ASSISTANT, text="four"),
            ],
        )
        short = pb.CreateRunRequest(input="And now?")

        used = [await self._input_tokens(agent, owner, each) for each in (request, short)]

        assert used[0] - used[1] == 4

    async def _input_tokens(self, agent: Fleet, owner: Caller, request: pb.CreateRunRequest) -> int:
        run_id = (await agent.runs(owner).CreateRun(request)).run_id
        await agent.events(owner, run_id)
        return int((await agent.get(owner, run_id)).usage.input_tokens)


class TestFailure:
    async def test_fails_with_the_reason_of_the_peer(self, agent: Fleet, owner: Caller) -> None:
        unknown = ids.KNOWLEDGE_BASE.show(new_id())

        events = await agent.run(owner, "penguins", knowledge_base_ids=[unknown])

        assert (events[-1].type, events[-1].data["reason"]) == ("run.failed", "KNOWLEDGE_BASE_NOT_FOUND")

    async def test_fails_when_the_actor_may_not_search(self, agent: Fleet, owner: Caller, authority: Authority) -> None:
        grants = ["agent.runs.create", "agent.runs.read"]
        reader = authority.caller(Rank.MEMBER, owner.organization_id, grants)

        events = await agent.run(reader, "penguins", knows=True)

        assert (events[-1].type, events[-1].data["reason"]) == ("run.failed", "PERMISSION_DENIED")

    async def test_repeats_a_search_that_failed_for_a_moment(self, agent: Fleet, owner: Caller) -> None:
        agent.kb.failures = 1

        run_id = await agent.start(owner, "penguins", knows=True)
        events = await agent.events(owner, run_id)

        restarted = [event.data for event in events if event.type == "step.restarted"]
        assert restarted == [{"step": 1, "attempt": 2, "reason": "DEPENDENCY_UNAVAILABLE"}]
        assert [(step.step, step.attempt) for step in await agent.steps(owner, run_id)] == [(1, 2), (2, 1)]
        assert events[-1].type == "run.completed"

    async def test_gives_up_on_a_provider_that_refuses(self, agent: Fleet, owner: Caller) -> None:
        events = await agent.run(owner, script({"fail": "refused"}))

        assert events[-1].data["reason"] == "PROVIDER_REFUSED"

    @pytest.mark.parametrize(
        ("limits", "reason"),
        [
            (RunLimits(max_steps=3), "STEP_LIMIT_REACHED"),
            (RunLimits(max_tokens=5), "TOKEN_LIMIT_REACHED"),
            (RunLimits(max_duration=Duration(seconds=1)), "TIME_LIMIT_REACHED"),
        ],
    )
    async def test_stops_at_its_limits(self, agent: Fleet, owner: Caller, limits: RunLimits, reason: str) -> None:
        calls = [call("calculator", expression="2+2") for _ in range(9)]
        text = script(*calls, say("one two three four five six seven eight nine ten"), delay_ms=300)

        run_id = await agent.start(owner, text, tools=["calculator"], limits=limits)
        if reason == "TIME_LIMIT_REACHED":
            run_id = await agent.start(owner, script(say("a " * 20), delay_ms=300), limits=limits)
        events = await agent.events(owner, run_id)

        assert (events[-1].type, events[-1].data["reason"]) == ("run.failed", reason)
        run = await agent.get(owner, run_id)
        assert (run.state, run.error_reason) == (pb.RUN_STATE_FAILED, reason)
        assert run.output_text == text_of(events)


class TestCancelRun:
    async def test_interrupts_the_answer_within_a_second(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, script(say("word " * 200), delay_ms=50))
        await agent.until(owner, run_id, "message.delta")

        asked = datetime.now(UTC)
        await agent.runs(owner).CancelRun(pb.CancelRunRequest(id=run_id))
        events = await agent.events(owner, run_id)

        assert events[-1].type == "run.cancelled"
        assert events[-1].time - asked < timedelta(seconds=1)
        assert (await agent.get(owner, run_id)).state == pb.RUN_STATE_CANCELLED
        assert (await agent.steps(owner, run_id))[-1].state == pb.RUN_STEP_STATE_CANCELLED

    async def test_leaves_a_run_that_has_ended(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, "Hello")
        await agent.events(owner, run_id)

        run = await agent.runs(owner).CancelRun(pb.CancelRunRequest(id=run_id))

        assert run.state == pb.RUN_STATE_COMPLETED

    async def test_ends_a_run_that_waits_for_a_person(self, agent: Fleet, owner: Caller) -> None:
        run_id = await agent.start(owner, script(call("delete")), tools=["delete"])
        await agent.events(owner, run_id)

        await agent.runs(owner).CancelRun(pb.CancelRunRequest(id=run_id))
        last = (await agent.events(owner, run_id))[-1]
        if last.type == "run.requires_action":
            last = (await agent.events(owner, run_id, after=last.seq))[-1]

        assert last.type == "run.cancelled"


class TestStartRun:
    async def test_gives_the_run_that_exists_when_it_is_repeated(self, agent: Fleet, owner: Caller) -> None:
        request = a_start("Hello")

        first = await agent.conversation(owner).StartRun(request)
        events = await agent.events(owner, request.run_id)
        again = await agent.conversation(owner).StartRun(request)

        assert (first.id, again.id, again.state) == (request.run_id, request.run_id, pb.RUN_STATE_COMPLETED)
        assert events[0].data["message_id"] == request.message_id

    async def test_refuses_an_id_of_someone_else(self, agent: Fleet, owner: Caller, member: Caller) -> None:
        request = a_start("Hello")
        await agent.conversation(owner).StartRun(request)

        with refused("RUN_ID_TAKEN"):
            await agent.conversation(member).StartRun(request)

    async def test_is_not_for_clients(self, agent: Fleet, owner: Caller) -> None:
        with refused("INTERNAL_ONLY"):
            await agent.runs(owner).StartRun(a_start("Hello"))

    async def test_tells_others_how_it_ended(self, agent: Fleet, owner: Caller) -> None:
        request = a_start("Hello")
        await agent.conversation(owner).StartRun(request)
        await agent.events(owner, request.run_id)

        ended = await agent.announced(RunEnded, request.run_id)
        used = await agent.announced(RunUsageRecorded, request.run_id)
        assert [(message.message_id, message.state) for message in ended] == [(request.message_id, "completed")]
        assert [(message.principal_id, message.key_id, message.steps) for message in used] == [(owner.subject, "", 1)]
        assert used[0].output_tokens > 0


class TestGetRunOutput:
    async def test_gives_no_less_than_the_stream_showed(self, agent: Fleet, owner: Caller) -> None:
        request = a_start(script(say("word " * 40), delay_ms=30))
        await agent.conversation(owner).StartRun(request)
        shown = (await agent.until(owner, request.run_id, "message.delta")).data["text"]

        output = await agent.conversation(owner).GetRunOutput(pb.GetRunOutputRequest(run_id=request.run_id))

        assert output.state == pb.RUN_STATE_RUNNING
        assert output.text.startswith(shown)
        await agent.runs(owner).CancelRun(pb.CancelRunRequest(id=request.run_id))

    async def test_gives_the_whole_once_it_has_ended(self, agent: Fleet, owner: Caller) -> None:
        request = a_start("Hello")
        await agent.conversation(owner).StartRun(request)
        events = await agent.events(owner, request.run_id)

        output = await agent.conversation(owner).GetRunOutput(pb.GetRunOutputRequest(run_id=request.run_id))

        assert (output.state, output.text) == (pb.RUN_STATE_COMPLETED, text_of(events))


class TestCreateRun:
    async def test_runs_the_published_version_and_not_the_draft(self, agent: Fleet, owner: Caller) -> None:
        published = await agent.publish(owner, "Birds", knows=True)
        changed = agent_pb.Agent(id=published.id, definition=definition_pb.AgentDefinition())
        await agent.agents(owner).UpdateAgent(agent_pb.UpdateAgentRequest(agent=changed))

        reply = await agent.runs(owner).CreateRun(pb.CreateRunRequest(agent_id=published.id, input="penguins"))
        events = await agent.events(owner, reply.run_id)

        assert (reply.run.agent_version, reply.run.state) == (1, pb.RUN_STATE_QUEUED)
        assert "retrieval.completed" in [event.type for event in events]

    async def test_refuses_an_agent_that_is_not_published(self, agent: Fleet, owner: Caller) -> None:
        draft = agent_pb.Agent(display_name="Draft only")
        created = await agent.agents(owner).CreateAgent(agent_pb.CreateAgentRequest(agent=draft))

        with refused("AGENT_NOT_PUBLISHED"):
            await agent.runs(owner).CreateRun(pb.CreateRunRequest(agent_id=created.id, input="Hello"))

    @pytest.mark.parametrize(
        ("request_", "reason"),
        [
            (pb.CreateRunRequest(input=""), "VALIDATION_FAILED"),
            (pb.CreateRunRequest(input="x", agent_id="run_00000000000000000000000000"), "INVALID_ID"),
            (pb.CreateRunRequest(input="x", agent_id="agent_00000000000000000000000000"), "AGENT_NOT_FOUND"),
            (pb.CreateRunRequest(input="x", model="openai/none"), "MODEL_NOT_FOUND"),
            (
                pb.CreateRunRequest(input="x", definition=definition_pb.AgentDefinition(knowledge_base_ids=["tool_1"])),
                "AGENT_DEFINITION_INVALID",
            ),
        ],
    )
    async def test_says_what_is_wrong(
        self, agent: Fleet, owner: Caller, request_: pb.CreateRunRequest, reason: str
    ) -> None:
        with refused(reason):
            await agent.runs(owner).CreateRun(request_)


class TestVisibility:
    async def test_hides_a_run_from_everyone_but_its_owner_and_admins(
        self, agent: Fleet, owner: Caller, authority: Authority
    ) -> None:
        member, colleague = authority.colleague(owner), authority.colleague(owner)
        run_id = await agent.start(member, "Hello")
        await agent.events(member, run_id)

        for caller in (colleague, authority.caller()):
            with refused("RUN_NOT_FOUND"):
                await agent.get(caller, run_id)
            with refused("RUN_NOT_FOUND"):
                await agent.events(caller, run_id)
            with refused("RUN_NOT_FOUND"):
                await agent.steps(caller, run_id)
            with refused("RUN_NOT_FOUND"):
                await agent.runs(caller).CancelRun(pb.CancelRunRequest(id=run_id))
        assert (await agent.get(owner, run_id)).id == run_id

    async def test_keeps_the_end_users_of_a_key_apart(self, agent: Fleet, authority: Authority) -> None:
        principal, organization = new_id(), new_id()
        anna, bert = (
            authority.caller(organization_id=organization, rank=Rank.MEMBER, principal_id=principal, end_user=name)
            for name in ("anna", "bert")
        )
        run_id = await agent.start(anna, "Hello")

        with refused("RUN_NOT_FOUND"):
            await agent.get(bert, run_id)
        assert (await agent.get(anna, run_id)).end_user == "anna"

    async def test_lists_own_runs_page_by_page(self, agent: Fleet, owner: Caller, authority: Authority) -> None:
        member = authority.colleague(owner)
        started = [await agent.start(member, f"Hello {number}") for number in range(3)]
        await agent.start(owner, "Another's")

        first = await agent.runs(member).ListRuns(pb.ListRunsRequest(page_size=2))
        second = await agent.runs(member).ListRuns(pb.ListRunsRequest(page_size=2, page_token=first.next_page_token))

        assert [run.id for run in [*first.runs, *second.runs]] == started[::-1]
        assert second.next_page_token == ""
        with refused("PAGE_TOKEN_INVALID"):
            await agent.runs(owner).ListRuns(pb.ListRunsRequest(page_token=first.next_page_token))

    async def test_answers_each_caller_as_the_contract_says(
        self, agent: Fleet, owner: Caller, authority: Authority
    ) -> None:
        run_id = await agent.start(owner, "Hello")
        await agent.events(owner, run_id)
        of_a_run = {
            "nobody": "UNAUTHENTICATED",
            "stranger": "RUN_NOT_FOUND",
            "low": "PERMISSION_DENIED",
            "permitted": "OK",
        }
        calls: dict[str, Callable[[Caller | None], Awaitable[Message]]] = {
            "GetRun": lambda caller: agent.runs(caller).GetRun(pb.GetRunRequest(id=run_id)),
            "ListRunSteps": lambda caller: agent.runs(caller).ListRunSteps(pb.ListRunStepsRequest(run_id=run_id)),
            "CancelRun": lambda caller: agent.runs(caller).CancelRun(pb.CancelRunRequest(id=run_id)),
        }

        for name, ask in calls.items():
            assert await caller_matrix(ask, authority, permitted=owner) == of_a_run, name
        for ask in (
            lambda caller: agent.runs(caller).ListRuns(pb.ListRunsRequest()),
            lambda caller: agent.runs(caller).CreateRun(pb.CreateRunRequest(input="Hello")),
        ):
            assert await caller_matrix(ask, authority, permitted=owner) == {**of_a_run, "stranger": "OK"}


class TestIdempotency:
    async def test_starts_one_run_for_a_repeated_request(self, agent: Fleet, owner: Caller) -> None:
        key = [("idempotency-key", new_id().hex)]

        replies = [
            await agent.runs(owner).CreateRun(pb.CreateRunRequest(input="Hello"), metadata=key) for _ in range(2)
        ]

        assert replies[0].run_id == replies[1].run_id


class TestBudget:
    async def test_reserves_before_and_settles_after_for_models_that_cost(self, owner: Caller) -> None:
        async with paid_model() as (agent, server):
            server.answer("Hello there.", input_tokens=100, output_tokens=10)
            run_id = await agent.start(owner, "Hello", model="compatible/test")
            events = await agent.events(owner, run_id)
            assert events[-1].type == "run.completed", events[-1]

            cost = (await agent.get(owner, run_id)).usage.cost_nano_usd
            assert cost == 100 * 2 + 10 * 3
            await eventually(lambda: _truth(list(agent.org.settled.values()) == [cost]))
            assert agent.org.reserved.keys() == agent.org.settled.keys()

            agent.org.budget = 0
            events = await agent.run(owner, "Hello", model="compatible/test")
            assert events[-1].data["reason"] == "BUDGET_EXHAUSTED"

    async def test_asks_nobody_for_models_that_are_free(self, agent: Fleet, owner: Caller) -> None:
        agent.org.budget = 0

        assert (await agent.run(owner, "Hello"))[-1].type == "run.completed"


async def _truth(value: bool) -> bool:
    return value
