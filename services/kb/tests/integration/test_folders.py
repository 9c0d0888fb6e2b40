"""Folders over gRPC."""

import pytest

from chassis.rpc.caller import Caller
from chassis.testing import Authority, caller_matrix, refused
from definable.kb.v1 import document_service_pb2 as document_pb
from definable.kb.v1 import folder_service_pb2 as pb
from definable.kb.v1.events_pb2 import FolderCreated, FolderDeleted, FolderMoved, FolderUpdated
from definable.options.v1.options_pb2 import Rank

from .running import SOME_ID, Kb  # noqa: TID252

UNKNOWN = f"folder_{SOME_ID}"


async def move(kb: Kb, caller: Caller, folder: pb.Folder, parent_id: str) -> pb.Folder:
    moved: pb.Folder = await kb.folders(caller).MoveFolder(pb.MoveFolderRequest(id=folder.id, parent_id=parent_id))
    return moved


class TestFolders:
    async def test_know_the_way_to_themselves(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        top = await kb.a_folder(owner, base.id, "top")
        middle = await kb.a_folder(owner, base.id, "middle", top.id)
        deep = await kb.a_folder(owner, base.id, "deep", middle.id)

        found = await kb.folders(owner).GetFolder(pb.GetFolderRequest(id=deep.id))
        listed = await kb.folders(owner).ListFolders(
            pb.ListFoldersRequest(knowledge_base_id=base.id, parent_id=middle.id)
        )

        assert [crumb.display_name for crumb in found.breadcrumbs] == ["top", "middle"]
        assert [folder.id for folder in listed.folders] == [deep.id]
        assert [crumb.display_name for crumb in listed.breadcrumbs] == ["top", "middle"]
        assert (await kb.outbox.last(FolderCreated)).folder_id == deep.id

    async def test_are_listed_by_name_and_in_pages(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        for name in "cab":
            await kb.a_folder(owner, base.id, name)
        request = pb.ListFoldersRequest(knowledge_base_id=base.id, page_size=2)

        first = await kb.folders(owner).ListFolders(request)
        request.page_token = first.next_page_token
        second = await kb.folders(owner).ListFolders(request)

        assert [folder.display_name for folder in [*first.folders, *second.folders]] == ["a", "b", "c"]
        assert second.next_page_token == ""

    async def test_have_names_of_their_own_below_one_parent(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        top = await kb.a_folder(owner, base.id, "Notes")
        await kb.a_folder(owner, base.id, "Notes", top.id)

        with refused("FOLDER_NAME_TAKEN"):
            await kb.a_folder(owner, base.id, "NOTES")

    async def test_are_renamed(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        folder = await kb.a_folder(owner, base.id, "old")

        renamed = await kb.folders(owner).UpdateFolder(
            pb.UpdateFolderRequest(folder=pb.Folder(id=folder.id, display_name="new"))
        )

        assert (renamed.display_name, renamed.etag != folder.etag) == ("new", True)
        assert (await kb.outbox.last(FolderUpdated)).folder_id == folder.id
        with refused("ETAG_MISMATCH"):
            await kb.folders(owner).UpdateFolder(
                pb.UpdateFolderRequest(folder=pb.Folder(id=folder.id, display_name="newer")),
                metadata=(("if-match", folder.etag),),
            )

    async def test_are_moved_with_what_is_below(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        one, two = await kb.a_folder(owner, base.id, "one"), await kb.a_folder(owner, base.id, "two")
        below = await kb.a_folder(owner, base.id, "below", one.id)

        await move(kb, owner, one, two.id)

        found = await kb.folders(owner).GetFolder(pb.GetFolderRequest(id=below.id))
        assert [crumb.display_name for crumb in found.breadcrumbs] == ["two", "one"]
        assert (await kb.outbox.last(FolderMoved)).parent_id == two.id
        assert (await move(kb, owner, below, "")).parent_id == ""

    async def test_cannot_be_moved_below_themselves(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        one = await kb.a_folder(owner, base.id, "one")
        below = await kb.a_folder(owner, base.id, "below", one.id)

        for target in (one.id, below.id):
            with refused("FOLDER_CYCLE"):
                await move(kb, owner, one, target)

    async def test_cannot_go_deeper_than_twenty_levels(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        parent = ""
        for level in range(20):
            parent = (await kb.a_folder(owner, base.id, f"level {level}", parent)).id

        with refused("FOLDER_TOO_DEEP"):
            await kb.a_folder(owner, base.id, "one more", parent)
        with refused("FOLDER_TOO_DEEP"):
            await move(kb, owner, await kb.a_folder(owner, base.id, "another"), parent)

    async def test_are_deleted_only_when_empty(self, kb: Kb, owner: Caller) -> None:
        base = await kb.a_base(owner)
        folder = await kb.a_folder(owner, base.id, "full")
        inside = await kb.a_folder(owner, base.id, "inside", folder.id)
        document = await kb.a_text(owner, base.id, "Herons.", folder_id=inside.id)
        delete = kb.folders(owner).DeleteFolder

        for full in (folder, inside):
            with refused("FOLDER_NOT_EMPTY"):
                await delete(pb.DeleteFolderRequest(id=full.id))
        await kb.documents(owner).DeleteDocument(document_pb.DeleteDocumentRequest(id=document.id))
        await delete(pb.DeleteFolderRequest(id=inside.id))
        await delete(pb.DeleteFolderRequest(id=folder.id))

        assert (await kb.outbox.last(FolderDeleted)).folder_id == folder.id
        with refused("FOLDER_NOT_FOUND"):
            await kb.folders(owner).GetFolder(pb.GetFolderRequest(id=folder.id))

    async def test_stay_in_their_base(self, kb: Kb, owner: Caller) -> None:
        base, other = await kb.a_base(owner), await kb.a_base(owner)
        folder = await kb.a_folder(owner, other.id, "elsewhere")

        with refused("FOLDER_NOT_FOUND"):
            await kb.a_folder(owner, base.id, "child", folder.id)
        with refused("FOLDER_NOT_FOUND"):
            await kb.a_text(owner, base.id, "Herons.", folder_id=folder.id)
        with refused("FOLDER_NOT_FOUND"):
            await move(kb, owner, await kb.a_folder(owner, base.id, "mine"), folder.id)

    @pytest.mark.parametrize(
        ("method", "fields", "rank"),
        [
            ("GetFolder", {}, Rank.VIEWER),
            ("UpdateFolder", {"folder": {"display_name": "new"}}, Rank.DEVELOPER),
            ("MoveFolder", {"parent_id": ""}, Rank.DEVELOPER),
            ("DeleteFolder", {}, Rank.DEVELOPER),
        ],
    )
    async def test_of_others_are_unknown(
        self,
        kb: Kb,
        owner: Caller,
        authority: Authority,
        method: str,
        fields: dict[str, dict[str, str]],
        rank: Rank.ValueType,
    ) -> None:
        base = await kb.a_base(owner)
        folder = await kb.a_folder(owner, base.id, "mine")

        def request(id: str) -> object:
            kind = getattr(pb, f"{method}Request")
            return kind(folder={"id": id, **fields["folder"]}) if "folder" in fields else kind(id=id, **fields)

        async def call(caller: Caller | None) -> pb.Folder:
            reply: pb.Folder = await getattr(kb.folders(caller), method)(request(folder.id))
            return reply

        with refused("FOLDER_NOT_FOUND"):
            await getattr(kb.folders(owner), method)(request(UNKNOWN))
        low = authority.colleague(owner, Rank.MEMBER if rank == Rank.DEVELOPER else Rank.RANK_UNSPECIFIED)
        seen = await caller_matrix(call, authority, permitted=authority.colleague(owner, rank), low=low)
        assert seen == {
            "nobody": "UNAUTHENTICATED",
            "stranger": "FOLDER_NOT_FOUND",
            "low": "PERMISSION_DENIED",
            "permitted": "OK",
        }

    async def test_need_a_base_that_one_may_see(self, kb: Kb, owner: Caller, authority: Authority) -> None:
        base = await kb.a_base(owner)

        async def create(caller: Caller | None) -> pb.Folder:
            folder = pb.Folder(knowledge_base_id=base.id, display_name="x")
            created: pb.Folder = await kb.folders(caller).CreateFolder(pb.CreateFolderRequest(folder=folder))
            return created

        async def show(caller: Caller | None) -> pb.ListFoldersResponse:
            request = pb.ListFoldersRequest(knowledge_base_id=base.id)
            listed: pb.ListFoldersResponse = await kb.folders(caller).ListFolders(request)
            return listed

        for call in (create, show):
            seen = await caller_matrix(call, authority, permitted=owner)
            assert seen == {
                "nobody": "UNAUTHENTICATED",
                "stranger": "KNOWLEDGE_BASE_NOT_FOUND",
                "low": "PERMISSION_DENIED",
                "permitted": "OK",
            }
