"""The laws of conversations."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.rpc.caller import Caller
from chassis.testing import Authority, InProcessService, refused
from definable.conversation.v1 import conversation_service_pb2 as pb
from definable.conversation.v1.conversation_service_pb2_grpc import ConversationServiceStub
from definable.conversation.v1.events_pb2 import ConversationCreated, ConversationDeleted
from definable.options.v1.options_pb2 import Rank

UNKNOWN = "conv_00000000000000000000000000"


@pytest.fixture
def owner(authority: Authority) -> Caller:
    """A member of a new organization."""
    return authority.caller(rank=Rank.MEMBER)


@pytest.fixture
def conversations(service: InProcessService) -> Callable[[Caller | None], Any]:
    """Return stubs by caller."""
    return lambda caller: service.stub(ConversationServiceStub, caller)


def a_conversation(**fields: Any) -> pb.CreateConversationRequest:
    return pb.CreateConversationRequest(conversation=pb.Conversation(**{"model": "offline", **fields}))


class TestCreateConversation:
    async def test_belongs_to_its_creator_and_is_announced(
        self, conversations: Any, owner: Caller, service: InProcessService
    ) -> None:
        created = await conversations(owner).CreateConversation(a_conversation(title="Wings"))

        assert created.title == "Wings"
        assert created.id.startswith("conv_")
        assert (await service.outbox.last(ConversationCreated)).conversation_id == created.id

    @pytest.mark.parametrize("fields", [{"model": ""}, {"model": "x", "agent_id": "agent_00000000000000000000000000"}])
    async def test_needs_exactly_one_that_answers(
        self, conversations: Any, owner: Caller, fields: dict[str, str]
    ) -> None:
        with refused("ANSWERER_INVALID"):
            await conversations(owner).CreateConversation(a_conversation(**fields))

    async def test_refuses_an_id_of_another_kind(self, conversations: Any, owner: Caller) -> None:
        with refused("INVALID_ID"):
            await conversations(owner).CreateConversation(
                a_conversation(model="", agent_id="kb_0000000000000000000000000")
            )


class TestListConversations:
    async def test_puts_the_latest_first_and_pages(self, conversations: Any, owner: Caller) -> None:
        stub = conversations(owner)
        made = [(await stub.CreateConversation(a_conversation(title=str(number)))).id for number in range(5)]

        first = await stub.ListConversations(pb.ListConversationsRequest(page_size=3))
        rest = await stub.ListConversations(pb.ListConversationsRequest(page_size=3, page_token=first.next_page_token))

        assert [one.id for one in (*first.conversations, *rest.conversations)] == made[::-1]
        assert rest.next_page_token == ""

    async def test_refuses_a_token_of_another_filter(self, conversations: Any, owner: Caller) -> None:
        stub = conversations(owner)
        for _ in range(2):
            await stub.CreateConversation(a_conversation())
        page = await stub.ListConversations(pb.ListConversationsRequest(page_size=1))

        with refused("PAGE_TOKEN_INVALID"):
            await stub.ListConversations(pb.ListConversationsRequest(page_token=page.next_page_token, archived=True))

    async def test_keeps_the_archive_apart(self, conversations: Any, owner: Caller) -> None:
        stub = conversations(owner)
        created = await stub.CreateConversation(a_conversation())
        await stub.UpdateConversation(
            pb.UpdateConversationRequest(
                conversation=pb.Conversation(id=created.id, archived=True), update_mask=FieldMask(paths=["archived"])
            )
        )

        assert not (await stub.ListConversations(pb.ListConversationsRequest())).conversations
        archived = await stub.ListConversations(pb.ListConversationsRequest(archived=True))
        assert [one.id for one in archived.conversations] == [created.id]


class TestUpdateConversation:
    async def test_changes_only_what_the_mask_names(self, conversations: Any, owner: Caller) -> None:
        stub = conversations(owner)
        created = await stub.CreateConversation(a_conversation(title="Old"))

        updated = await stub.UpdateConversation(
            pb.UpdateConversationRequest(
                conversation=pb.Conversation(id=created.id, title="New", archived=True),
                update_mask=FieldMask(paths=["title"]),
            )
        )

        assert (updated.title, updated.archived) == ("New", False)
        assert updated.etag != created.etag

    async def test_refuses_a_stale_etag(self, conversations: Any, owner: Caller) -> None:
        stub = conversations(owner)
        created = await stub.CreateConversation(a_conversation())
        change = pb.UpdateConversationRequest(
            conversation=pb.Conversation(id=created.id, title="New"), update_mask=FieldMask(paths=["title"])
        )
        await stub.UpdateConversation(change, metadata=(("if-match", created.etag),))

        with refused("ETAG_MISMATCH"):
            await stub.UpdateConversation(change, metadata=(("if-match", created.etag),))

    async def test_refuses_to_change_what_is_fixed(self, conversations: Any, owner: Caller) -> None:
        stub = conversations(owner)
        created = await stub.CreateConversation(a_conversation())

        with refused("VALIDATION_FAILED"):
            await stub.UpdateConversation(
                pb.UpdateConversationRequest(
                    conversation=pb.Conversation(id=created.id, model="other"),
                    update_mask=FieldMask(paths=["model"]),
                )
            )


class TestDeleteConversation:
    async def test_is_gone_and_announced(self, conversations: Any, owner: Caller, service: InProcessService) -> None:
        stub = conversations(owner)
        created = await stub.CreateConversation(a_conversation())

        await stub.DeleteConversation(pb.DeleteConversationRequest(id=created.id))

        with refused("CONVERSATION_NOT_FOUND"):
            await stub.GetConversation(pb.GetConversationRequest(id=created.id))
        assert (await service.outbox.last(ConversationDeleted)).conversation_id == created.id


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "CreateConversation": lambda stub, id: stub.CreateConversation(a_conversation()),
    "ListConversations": lambda stub, id: stub.ListConversations(pb.ListConversationsRequest()),
    "GetConversation": lambda stub, id: stub.GetConversation(pb.GetConversationRequest(id=id)),
    "UpdateConversation": lambda stub, id: stub.UpdateConversation(
        pb.UpdateConversationRequest(
            conversation=pb.Conversation(id=id, title="x"), update_mask=FieldMask(paths=["title"])
        )
    ),
    "DeleteConversation": lambda stub, id: stub.DeleteConversation(pb.DeleteConversationRequest(id=id)),
}
NAMING = ("GetConversation", "UpdateConversation", "DeleteConversation")


class TestCallers:
    @pytest.mark.parametrize("rpc", CALLS)
    async def test_nobody_is_refused(self, conversations: Any, rpc: str) -> None:
        with refused("UNAUTHENTICATED"):
            await CALLS[rpc](conversations(None), UNKNOWN)

    @pytest.mark.parametrize("rpc", CALLS)
    async def test_too_low_a_role_is_refused(self, conversations: Any, authority: Authority, rpc: str) -> None:
        with refused("PERMISSION_DENIED"):
            await CALLS[rpc](conversations(authority.caller(rank=Rank.VIEWER)), UNKNOWN)

    @pytest.mark.parametrize("rpc", NAMING)
    async def test_a_stranger_and_a_colleague_find_nothing(
        self, conversations: Any, authority: Authority, owner: Caller, rpc: str
    ) -> None:
        created = await conversations(owner).CreateConversation(a_conversation())
        colleague = authority.caller(rank=Rank.DEVELOPER, organization_id=owner.organization_id)

        for other in (authority.caller(rank=Rank.OWNER), colleague):
            with refused("CONVERSATION_NOT_FOUND"):
                await CALLS[rpc](conversations(other), created.id)

    @pytest.mark.parametrize("rpc", CALLS)
    async def test_one_who_may_is_served(self, conversations: Any, owner: Caller, rpc: str) -> None:
        created = await conversations(owner).CreateConversation(a_conversation())

        assert await CALLS[rpc](conversations(owner), created.id) is not None

    async def test_an_administrator_reads_and_does_not_change(
        self, conversations: Any, authority: Authority, owner: Caller
    ) -> None:
        created = await conversations(owner).CreateConversation(a_conversation())
        admin = conversations(authority.caller(rank=Rank.ADMIN, organization_id=owner.organization_id))

        assert (await admin.GetConversation(pb.GetConversationRequest(id=created.id))).id == created.id
        with refused("CONVERSATION_NOT_FOUND"):
            await CALLS["UpdateConversation"](admin, created.id)

    @pytest.mark.parametrize("id", ["x", "kb_0000000000000000000000000", "conv_", "conv_!!!"])
    async def test_a_malformed_id_is_told_apart(self, conversations: Any, owner: Caller, id: str) -> None:
        with refused("INVALID_ID"):
            await conversations(owner).GetConversation(pb.GetConversationRequest(id=id))
