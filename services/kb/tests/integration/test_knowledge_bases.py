"""Knowledge bases over gRPC."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.rpc.caller import Caller
from chassis.testing import Authority, caller_matrix, eventually, refused
from definable.kb.v1 import document_service_pb2 as document_pb
from definable.kb.v1 import knowledge_base_service_pb2 as pb
from definable.kb.v1.events_pb2 import KnowledgeBaseCreated, KnowledgeBaseDeleted, KnowledgeBaseUpdated
from definable.options.v1.options_pb2 import Rank
from kb.domain import ids

from .running import SOME_ID, Kb  # noqa: TID252

UNKNOWN = f"kb_{SOME_ID}"


class TestCreateKnowledgeBase:
    async def test_announces_what_it_created(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner, display_name="Handbook", description="All about birds", language="de")

        envelope, event = await kb.outbox.last_recorded(KnowledgeBaseCreated)
        assert event.knowledge_base_id == envelope.target == base.id
        assert envelope.actor.subject == owner.subject
        assert (base.display_name, base.description, base.language) == ("Handbook", "All about birds", "de")

    async def test_fills_in_what_was_left_out(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)

        assert base.language == "en"
        assert (base.chunking.size_tokens, base.chunking.overlap_tokens) == (224, 32)
        assert base.embedding_model == "all-MiniLM-L6-v2-int8/384"

    async def test_refuses_a_name_that_differs_only_in_case(self, kb: Kb, owner: Caller) -> None:
        await kb.a_base(owner, display_name="Handbook")

        with refused("KNOWLEDGE_BASE_NAME_TAKEN"):
            await kb.a_base(owner, display_name="HANDBOOK")

    async def test_lets_two_organizations_use_one_name(self, kb: Kb, owner: Caller, stranger: Caller) -> None:
        await kb.a_base(owner, display_name="Handbook")

        assert (await kb.a_base(stranger, display_name="Handbook")).display_name == "Handbook"

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"display_name": ""}, "VALIDATION_FAILED"),
            ({"display_name": "x" * 101}, "VALIDATION_FAILED"),
            ({"language": "xx"}, "VALIDATION_FAILED"),
            ({"chunking": {"size_tokens": 1025}}, "VALIDATION_FAILED"),
            ({"chunking": {"size_tokens": 31}}, "VALIDATION_FAILED"),
            ({"chunking": {"size_tokens": 64, "overlap_tokens": 33}}, "CHUNK_OVERLAP_TOO_LARGE"),
        ],
    )
    async def test_refuses_bad_input(self, kb: Kb, owner: Caller, fields: dict[str, object], reason: str) -> None:
        with refused(reason):
            await kb.a_base(owner, **fields)

    async def test_is_for_developers(self, kb: Kb, owner: Caller, authority: Authority) -> None:
        async def create(caller: Caller | None) -> pb.KnowledgeBase:
            request = pb.CreateKnowledgeBaseRequest(knowledge_base=pb.KnowledgeBase(display_name="Matrix"))
            created: pb.KnowledgeBase = await kb.bases(caller).CreateKnowledgeBase(request)
            return created

        member = authority.colleague(owner, Rank.MEMBER)
        developer = authority.colleague(owner, Rank.DEVELOPER)
        seen = await caller_matrix(create, authority, permitted=developer, low=member)

        assert seen == {"nobody": "UNAUTHENTICATED", "stranger": "OK", "low": "PERMISSION_DENIED", "permitted": "OK"}


class TestReadKnowledgeBase:
    async def test_counts_what_it_holds(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        good = await kb.a_ready_text(owner, base.id, "Herons wait for fish.")
        bad = await kb.a_text(owner, base.id, "...")
        await kb.ended(owner, bad.id, state=document_pb.DOCUMENT_STATE_FAILED)

        found = await kb.bases(owner).GetKnowledgeBase(pb.GetKnowledgeBaseRequest(id=base.id))

        assert (found.document_count, found.ready_document_count, found.failed_document_count) == (2, 1, 1)
        assert (found.chunk_count, found.size_bytes) == (1, good.size_bytes + bad.size_bytes)
        listed = await kb.bases(owner).ListKnowledgeBases(pb.ListKnowledgeBasesRequest())
        assert list(listed.knowledge_bases) == [found]

    async def test_pages_through_a_list(self, kb: Kb, owner: Caller) -> None:
        names = [f"Base {letter}" for letter in "cabed"]
        for name in names:
            await kb.a_base(owner, display_name=name)
        bases, token, seen = kb.bases(owner), "", list[str]()

        while token or not seen:
            request = pb.ListKnowledgeBasesRequest(page_size=2, page_token=token, order_by="display_name")
            page = await bases.ListKnowledgeBases(request)
            seen += [base.display_name for base in page.knowledge_bases]
            token = page.next_page_token

        assert seen == sorted(names)
        newest_first = await bases.ListKnowledgeBases(pb.ListKnowledgeBasesRequest())
        assert [base.display_name for base in newest_first.knowledge_bases] == names[::-1]
        filtered = await bases.ListKnowledgeBases(pb.ListKnowledgeBasesRequest(query="E C"))
        assert [base.display_name for base in filtered.knowledge_bases] == ["Base c"]
        first = await bases.ListKnowledgeBases(pb.ListKnowledgeBasesRequest(page_size=2))
        with refused("PAGE_TOKEN_INVALID"):
            await bases.ListKnowledgeBases(
                pb.ListKnowledgeBasesRequest(query="other", page_token=first.next_page_token)
            )

    @pytest.mark.parametrize("method", ["GetKnowledgeBase", "DeleteKnowledgeBase", "UpdateKnowledgeBase"])
    async def test_a_foreign_base_is_an_unknown_one(
        self, kb: Kb, owner: Caller, authority: Authority, method: str
    ) -> None:
        base = await kb.a_base(owner)

        def request(id: str) -> object:
            if method == "UpdateKnowledgeBase":
                changed = pb.KnowledgeBase(id=id, description="x")
                return pb.UpdateKnowledgeBaseRequest(
                    knowledge_base=changed, update_mask=FieldMask(paths=["description"])
                )
            return getattr(pb, f"{method}Request")(id=id)

        async def call(caller: Caller | None) -> object:
            return await getattr(kb.bases(caller), method)(request(base.id))

        with refused("KNOWLEDGE_BASE_NOT_FOUND") as unknown:
            await getattr(kb.bases(owner), method)(request(UNKNOWN))
        with refused("KNOWLEDGE_BASE_NOT_FOUND") as foreign:
            await call(authority.caller())
        assert unknown.error is not None
        assert foreign.error is not None
        assert unknown.error.message == foreign.error.message
        seen = await caller_matrix(call, authority, permitted=owner)  # type: ignore[arg-type]  # any reply will do
        assert seen == {
            "nobody": "UNAUTHENTICATED",
            "stranger": "KNOWLEDGE_BASE_NOT_FOUND",
            "low": "PERMISSION_DENIED",
            "permitted": "OK",
        }
        with refused("INVALID_ID"):
            await getattr(kb.bases(owner), method)(request(f"doc_{SOME_ID}"))


class TestUpdateKnowledgeBase:
    async def test_changes_what_the_mask_names(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner, description="old")
        changed = pb.KnowledgeBase(id=base.id, display_name="New name", description="ignored")

        updated = await kb.bases(owner).UpdateKnowledgeBase(
            pb.UpdateKnowledgeBaseRequest(knowledge_base=changed, update_mask=FieldMask(paths=["display_name"]))
        )

        assert (updated.display_name, updated.description) == ("New name", "old")
        assert updated.etag != base.etag
        envelope, event = await kb.outbox.last_recorded(KnowledgeBaseUpdated)
        assert event.knowledge_base_id == base.id
        assert envelope.before_digest != envelope.after_digest

    async def test_lets_a_name_change_its_case(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner, display_name="birds")

        updated = await kb.bases(owner).UpdateKnowledgeBase(
            pb.UpdateKnowledgeBaseRequest(knowledge_base=pb.KnowledgeBase(id=base.id, display_name="Birds"))
        )

        assert updated.display_name == "Birds"

    async def test_refuses_what_cannot_change(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        changed = pb.KnowledgeBase(id=base.id, language="de")

        with refused("VALIDATION_FAILED"):
            await kb.bases(owner).UpdateKnowledgeBase(
                pb.UpdateKnowledgeBaseRequest(knowledge_base=changed, update_mask=FieldMask(paths=["language"]))
            )

    async def test_refuses_an_older_etag(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        request = pb.UpdateKnowledgeBaseRequest(knowledge_base=pb.KnowledgeBase(id=base.id, description="mine"))
        await kb.bases(owner).UpdateKnowledgeBase(request, metadata=(("if-match", base.etag),))

        with refused("ETAG_MISMATCH"):
            await kb.bases(owner).UpdateKnowledgeBase(request, metadata=(("if-match", base.etag),))


class TestDeleteKnowledgeBase:
    async def test_erases_everything(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner, display_name="Gone")
        folder = await kb.a_folder(owner, base.id, "top")
        await kb.a_folder(owner, base.id, "below", folder.id)
        document = await kb.a_ready_text(owner, base.id, "Herons wait for fish.", folder_id=folder.id)
        keys = await kb.stored_keys(owner)
        assert len(keys) == 1

        await kb.bases(owner).DeleteKnowledgeBase(pb.DeleteKnowledgeBaseRequest(id=base.id))

        with refused("KNOWLEDGE_BASE_NOT_FOUND"):
            await kb.search(owner, [base.id], "herons")
        with refused("DOCUMENT_NOT_FOUND"):
            await kb.get(owner, document.id)
        assert (await kb.outbox.last(KnowledgeBaseDeleted)).knowledge_base_id == base.id
        assert (await kb.a_base(owner, display_name="Gone")).id != base.id

        async def is_erased() -> bool:
            rows = await kb.row_counts(ids.KNOWLEDGE_BASE.parse(base.id))
            return not any(rows.values()) and not await kb.stored_keys(owner)

        await eventually(is_erased, timeout=20)

    async def test_repeats_its_answer_under_one_key(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        request, key = pb.DeleteKnowledgeBaseRequest(id=base.id), (("idempotency-key", f"delete-{base.id}"),)

        await kb.bases(owner).DeleteKnowledgeBase(request, metadata=key)
        await kb.bases(owner).DeleteKnowledgeBase(request, metadata=key)

        with refused("KNOWLEDGE_BASE_NOT_FOUND"):
            await kb.bases(owner).DeleteKnowledgeBase(request)
