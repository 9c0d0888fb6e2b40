"""The laws of messages: nothing said is lost, every answer comes to an end, and only once."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.data.unit_of_work import DuplicateDelivery
from chassis.ids import new_id
from chassis.messaging.events import Delivery, Envelope, subject_of
from chassis.rpc.caller import Actor, Caller
from chassis.testing import Authority, InProcessService, eventually, refused
from definable.agent.v1 import run_service_pb2 as run_pb
from definable.agent.v1.events_pb2 import RunEnded
from definable.conversation.v1 import conversation_service_pb2 as conversation_pb
from definable.conversation.v1 import message_service_pb2 as pb
from definable.conversation.v1.conversation_service_pb2_grpc import ConversationServiceStub
from definable.conversation.v1.events_pb2 import MessageAnswered, MessageSent
from definable.conversation.v1.message_service_pb2_grpc import MessageServiceStub
from definable.options.v1.options_pb2 import Rank

AGENT = "agent_00000000000000000000000001"
CITATION = run_pb.Citation(document_id="doc_00000000000000000000000001", start=3, end=9, text="quoted", index=1)


class Talk:
    """A conversation of one caller."""

    def __init__(self, service: InProcessService, caller: Caller, conversation_id: str) -> None:
        self.id = conversation_id
        self.caller = caller
        self.messages = service.stub(MessageServiceStub, caller)
        self.conversations = service.stub(ConversationServiceStub, caller)

    async def say(self, content: str, **options: Any) -> pb.SendMessageResponse:
        return await self.messages.SendMessage(
            pb.SendMessageRequest(conversation_id=self.id, content=content), **options
        )

    async def all(self) -> list[pb.Message]:
        return list((await self.messages.ListMessages(pb.ListMessagesRequest(conversation_id=self.id))).messages)


Begin = Callable[..., Awaitable[Talk]]


@pytest.fixture
def begin(service: InProcessService, authority: Authority) -> Begin:
    """Return what begins a conversation, of a new member unless one is given."""

    async def begun(caller: Caller | None = None, **answerer: Any) -> Talk:
        caller = caller or authority.caller(rank=Rank.MEMBER)
        created = await service.stub(ConversationServiceStub, caller).CreateConversation(
            conversation_pb.CreateConversationRequest(
                conversation=conversation_pb.Conversation(**(answerer or {"agent_id": AGENT}))
            )
        )
        return Talk(service, caller, created.id)

    return begun


def a_delivery(event: RunEnded, caller: Caller) -> Delivery:
    """Return an event of agent as the broker would deliver it."""
    envelope = Envelope(
        event_id=new_id(),
        subject=subject_of(RunEnded),
        time=datetime.now(UTC),
        organization_id=caller.organization_id,
        actor=Actor.service("agent"),
    )
    return Delivery(envelope, event.SerializeToString(), event, consumer="store_answer_of_ended_run")


class TestSendMessage:
    async def test_stores_message_and_placeholder_and_starts_the_run(
        self, begin: Begin, agent: Any, service: InProcessService
    ) -> None:
        talk = await begin()

        sent = await talk.say("What is a wing?")

        assert (sent.message.content, sent.message.state) == ("What is a wing?", pb.MESSAGE_STATE_COMPLETED)
        assert sent.answer.state == pb.MESSAGE_STATE_IN_PROGRESS
        request = agent.started[sent.run_id]
        assert (request.agent_id, request.message_id, request.input) == (AGENT, sent.answer.id, "What is a wing?")
        assert (await service.outbox.last(MessageSent)).run_id == sent.run_id

    async def test_gives_the_agent_what_was_said_before(self, begin: Begin, agent: Any) -> None:
        talk = await begin(model="offline")
        first = await talk.say("One?")
        agent.complete(first.run_id, "Two.")
        await talk.all()

        second = await talk.say("Three?")

        request = agent.started[second.run_id]
        assert [(turn.role, turn.text) for turn in request.history] == [
            (run_pb.CHAT_ROLE_USER, "One?"),
            (run_pb.CHAT_ROLE_ASSISTANT, "Two."),
        ]
        assert (request.input, request.model) == ("Three?", "offline")

    async def test_names_the_conversation_after_its_first_message(self, begin: Begin, agent: Any) -> None:
        talk = await begin()
        await talk.say("What is a wing?")

        shown = await talk.conversations.GetConversation(conversation_pb.GetConversationRequest(id=talk.id))

        assert (shown.title, shown.message_count) == ("What is a wing?", 2)

    async def test_waits_for_the_answer_before(self, begin: Begin, agent: Any) -> None:
        talk = await begin()
        await talk.say("One?")

        with refused("ANSWER_IN_PROGRESS"):
            await talk.say("Two?")

    async def test_lets_one_of_two_simultaneous_messages_through(self, begin: Begin, agent: Any) -> None:
        talk = await begin()

        results = await asyncio.gather(*(talk.say(str(number)) for number in range(5)), return_exceptions=True)

        assert sum(isinstance(result, pb.SendMessageResponse) for result in results) == 1
        assert [message.role for message in await talk.all()] == [pb.MESSAGE_ROLE_USER, pb.MESSAGE_ROLE_ASSISTANT]

    async def test_refuses_an_archived_conversation(self, begin: Begin, agent: Any) -> None:
        talk = await begin()
        await talk.conversations.UpdateConversation(
            conversation_pb.UpdateConversationRequest(
                conversation=conversation_pb.Conversation(id=talk.id, archived=True),
                update_mask=FieldMask(paths=["archived"]),
            )
        )

        with refused("CONVERSATION_ARCHIVED"):
            await talk.say("Hello?")

    async def test_a_run_that_cannot_be_made_is_told_and_kept(self, begin: Begin, agent: Any) -> None:
        unpublished = "agent_00000000000000000000000002"
        agent.unpublished.add(unpublished)
        talk = await begin(agent_id=unpublished)

        with refused("AGENT_NOT_PUBLISHED"):
            await talk.say("Hello?")

        [message, answer] = await talk.all()
        assert message.content == "Hello?"
        assert (answer.state, answer.error_reason) == (pb.MESSAGE_STATE_FAILED, "AGENT_NOT_PUBLISHED")

    async def test_a_job_starts_the_run_when_agent_was_away(self, begin: Begin, agent: Any) -> None:
        talk = await begin()
        agent.away = True
        sent = await talk.say("Hello?")
        assert sent.run_id not in agent.started

        agent.away = False

        async def started() -> bool:
            return sent.run_id in agent.started

        await eventually(started, timeout=30)

    async def test_the_same_idempotency_key_sends_once(self, begin: Begin, agent: Any) -> None:
        talk = await begin()

        first = await talk.say("Hello?", metadata=(("idempotency-key", f"once-{talk.id}"),))
        second = await talk.say("Hello?", metadata=(("idempotency-key", f"once-{talk.id}"),))

        assert first == second
        assert len(await talk.all()) == 2
        with refused("IDEMPOTENCY_KEY_REUSED"):
            await talk.say("Something else", metadata=(("idempotency-key", f"once-{talk.id}"),))

    @pytest.mark.parametrize("content", ["", "x" * 100_001])
    async def test_refuses_nothing_and_too_much(self, begin: Begin, agent: Any, content: str) -> None:
        talk = await begin()

        with refused("VALIDATION_FAILED"):
            await talk.say(content)


class TestAnswers:
    async def test_a_reader_sees_the_answer_at_once(self, begin: Begin, agent: Any, service: InProcessService) -> None:
        talk = await begin()
        sent = await talk.say("What is a wing?")
        agent.complete(sent.run_id, "A wing lifts.", CITATION)

        answer = await talk.messages.GetMessage(pb.GetMessageRequest(id=sent.answer.id))

        assert (answer.content, answer.state) == ("A wing lifts.", pb.MESSAGE_STATE_COMPLETED)
        assert list(answer.citations) == [CITATION]
        assert (await service.outbox.last(MessageAnswered)).message_id == sent.answer.id

    async def test_is_stored_when_nobody_reads(self, begin: Begin, agent: Any, service: InProcessService) -> None:
        talk = await begin()
        sent = await talk.say("What is a wing?")
        agent.complete(sent.run_id, "A wing lifts.")
        event = RunEnded(run_id=sent.run_id, message_id=sent.answer.id, conversation_id=talk.id, state="completed")
        [consumer] = service.service.consumers
        with suppress(DuplicateDelivery):
            for _ in range(2):
                await consumer.handle(a_delivery(event, talk.caller))

        announced = [record.message for record in await service.outbox.all(MessageAnswered)]
        assert [one.message_id for one in announced if isinstance(one, MessageAnswered)].count(sent.answer.id) == 1

    async def test_a_final_answer_is_never_changed(self, begin: Begin, agent: Any) -> None:
        talk = await begin()
        sent = await talk.say("What is a wing?")
        agent.complete(sent.run_id, "First.")
        await talk.all()
        agent.complete(sent.run_id, "Second.")

        assert (await talk.all())[1].content == "First."

    async def test_with_agent_away_the_stored_one_is_shown(self, begin: Begin, agent: Any) -> None:
        talk = await begin()
        sent = await talk.say("What is a wing?")
        agent.away = True

        answer = await talk.messages.GetMessage(pb.GetMessageRequest(id=sent.answer.id))

        assert answer.state == pb.MESSAGE_STATE_IN_PROGRESS


class TestStopMessage:
    async def test_cancels_the_run(self, begin: Begin, agent: Any) -> None:
        talk = await begin()
        sent = await talk.say("Long story?")

        await talk.messages.StopMessage(pb.StopMessageRequest(id=sent.answer.id))

        assert sent.run_id in agent.cancelled

    async def test_refuses_what_is_not_being_answered(self, begin: Begin, agent: Any) -> None:
        talk = await begin()
        sent = await talk.say("Hello?")

        with refused("ANSWER_NOT_IN_PROGRESS"):
            await talk.messages.StopMessage(pb.StopMessageRequest(id=sent.message.id))


class TestListMessages:
    async def test_pages_oldest_first(self, begin: Begin, agent: Any) -> None:
        talk = await begin()
        for number in range(3):
            sent = await talk.say(f"Question {number}")
            agent.complete(sent.run_id, f"Answer {number}")
            await talk.all()

        request = pb.ListMessagesRequest(conversation_id=talk.id, page_size=4)
        first = await talk.messages.ListMessages(request)
        request.page_token = first.next_page_token
        rest = await talk.messages.ListMessages(request)

        assert [message.content for message in (*first.messages, *rest.messages)] == [
            text for number in range(3) for text in (f"Question {number}", f"Answer {number}")
        ]


class TestDeleting:
    async def test_a_conversation_takes_its_messages_along_and_cancels_its_run(self, begin: Begin, agent: Any) -> None:
        talk = await begin()
        sent = await talk.say("Long story?")

        await talk.conversations.DeleteConversation(conversation_pb.DeleteConversationRequest(id=talk.id))

        with refused("MESSAGE_NOT_FOUND"):
            await talk.messages.GetMessage(pb.GetMessageRequest(id=sent.message.id))

        async def cancelled() -> bool:
            return sent.run_id in agent.cancelled

        await eventually(cancelled)


CALLS: dict[str, Callable[[Any, str, str], Any]] = {
    "SendMessage": lambda stub, conversation, message: stub.SendMessage(
        pb.SendMessageRequest(conversation_id=conversation, content="x")
    ),
    "ListMessages": lambda stub, conversation, message: stub.ListMessages(
        pb.ListMessagesRequest(conversation_id=conversation)
    ),
    "GetMessage": lambda stub, conversation, message: stub.GetMessage(pb.GetMessageRequest(id=message)),
    "StopMessage": lambda stub, conversation, message: stub.StopMessage(pb.StopMessageRequest(id=message)),
}

NOT_FOUND = {
    rpc: "CONVERSATION_NOT_FOUND" if rpc in ("SendMessage", "ListMessages") else "MESSAGE_NOT_FOUND" for rpc in CALLS
}


class TestCallers:
    @pytest.mark.parametrize("rpc", CALLS)
    async def test_nobody_and_too_low_a_role_are_refused(
        self, service: InProcessService, begin: Begin, agent: Any, authority: Authority, rpc: str
    ) -> None:
        talk = await begin()
        sent = await talk.say("Hello?")

        with refused("UNAUTHENTICATED"):
            await CALLS[rpc](service.stub(MessageServiceStub, None), talk.id, sent.answer.id)
        viewer = authority.caller(rank=Rank.VIEWER, organization_id=talk.caller.organization_id)
        with refused("PERMISSION_DENIED"):
            await CALLS[rpc](service.stub(MessageServiceStub, viewer), talk.id, sent.answer.id)

    @pytest.mark.parametrize("rpc", CALLS)
    async def test_a_stranger_and_a_colleague_find_nothing(
        self, service: InProcessService, begin: Begin, agent: Any, authority: Authority, rpc: str
    ) -> None:
        talk = await begin()
        sent = await talk.say("Hello?")
        colleague = authority.caller(rank=Rank.DEVELOPER, organization_id=talk.caller.organization_id)

        for other in (authority.caller(rank=Rank.OWNER), colleague):
            with refused(NOT_FOUND[rpc]):
                await CALLS[rpc](service.stub(MessageServiceStub, other), talk.id, sent.answer.id)
