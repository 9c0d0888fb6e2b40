import httpx
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from ..conftest import Front  # noqa: TID252  # tests are installed nowhere
from ..library import compiled  # noqa: TID252

NEW_RPC = (
    "  // Takes a book's text.\n",
    """
  // Borrows a book.
  rpc BorrowBook(ArchiveBookRequest) returns (Book) {
    option (google.api.http) = {post: "/v1/books/{id}:again" body: "*"};
    option (definable.options.v1.access) = {permission: "library.books.archive" granted_to: DEVELOPER};
  }
""",
)
NEW_FIELD = ("  // On the cover.\n", "  // On the spine.\n  string spine = 90;\n  // On the cover.\n")
BREAKING = {
    "number": ("string keywords = 13", "string keywords = 93"),
    "type": ("int64 printed = 5", "string printed = 5"),
    "label": ("bool available = 9", "repeated bool available = 9"),
    "removal": ("  // Whether it can be had.\n  bool available = 9;\n", ""),
    "route": ('get: "/v1/books/{id}"\n', 'get: "/v1/tomes/{id}"\n'),
    "enum": ("GENRE_ESSAY = 2", "GENRE_ESSAY = 3"),
    "message": ("rpc DeleteBook(DeleteBookRequest)", "rpc DeleteBook(GetBookRequest)"),
    "taken": ('"/v1/books/{id}:archive"', '"/v1/knowledge-bases"'),
}


async def offer(front: Front, files: FileDescriptorSet, version: str = "2") -> str:
    front.library.offered, front.library.version = files, version
    await front.parts.discovery.refresh()
    standing: str = front.parts.discovery.standings["library"].state
    return standing


class TestDiscovery:
    async def test_serves_a_new_route_without_a_release(self, front: Front, client: httpx.AsyncClient) -> None:
        await front.parts.discovery.refresh()
        assert (await client.post("/v1/books/book_1:again")).status_code == 404

        assert await offer(front, compiled(NEW_RPC)) == "current"

        # The service behind doesn't have the RPC yet: it is the route that is new.
        reply = await client.post("/v1/books/book_1:again")
        assert (reply.status_code, reply.json()["reason"]) == (501, "METHOD_NOT_ALLOWED")
        assert "/v1/books/{id}:again" in (await client.get("/openapi.json")).json()["paths"]

    async def test_takes_over_a_new_field(self, front: Front, client: httpx.AsyncClient) -> None:
        assert (await client.post("/v1/books", json={"title": "A", "spine": "x"})).status_code == 422
        assert await offer(front, compiled(NEW_FIELD)) == "current"

        reply = await client.post("/v1/books", json={"title": "A", "spine": "x"})
        assert reply.json()["spine"] == "x"

    @pytest.mark.parametrize("change", list(BREAKING))
    async def test_keeps_the_last_good_contract(self, front: Front, client: httpx.AsyncClient, change: str) -> None:
        table = front.parts.exposure.table

        assert await offer(front, compiled(BREAKING[change])) == "incompatible"

        assert front.parts.exposure.table is table
        assert (await client.get("/v1/books")).status_code == 200
        dependency = (await client.get("/readyz")).json()["dependencies"]["library"]
        assert dependency["contract"] == "incompatible"
        assert dependency["broken_rule"]
        assert 'gateway_contract_refused{service="library"} 1.0' in (await client.get("/metrics")).text

    async def test_returns_to_a_contract_that_was_repaired(self, front: Front) -> None:
        assert await offer(front, compiled(BREAKING["type"]), "2") == "incompatible"
        assert await offer(front, compiled(), "3") == "current"

    async def test_takes_nothing_of_another_package(self, front: Front) -> None:
        stolen = FileDescriptorSet()
        stolen.CopyFrom(compiled(NEW_RPC))
        for file in stolen.file:
            if file.package == "definable.library.v1":
                file.package = "definable.auth.v1"
        table = front.parts.exposure.table
        await offer(front, stolen)

        assert {o.name for o in front.parts.exposure.table.operations} == {o.name for o in table.operations}

    async def test_survives_nonsense(self, front: Front, client: httpx.AsyncClient) -> None:
        nonsense = FileDescriptorSet()
        file = nonsense.file.add(name="definable/library/v1/other.proto", package="definable.library.v1")
        file.dependency.append("missing.proto")

        assert await offer(front, nonsense) == "incompatible"
        assert (await client.get("/v1/books")).status_code == 200
