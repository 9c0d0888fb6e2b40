import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from gateway.errors import MethodNotAllowed
from gateway.operations import ContractBroken, Table
from gateway.values import UnsupportedType

from ..library import compiled, library_table  # noqa: TID252  # tests are installed nowhere

TABLE = library_table()


class TestMatch:
    @pytest.mark.parametrize(
        "http,path,name,values",
        [
            ("GET", b"/v1/books/b1", "get_book", {"id": "b1"}),
            ("GET", b"/v1/books/b1:download", "download_book", {"id": "b1"}),
            ("GET", b"/v1/books:call", "show_call", {}),
            ("GET", b"/v1/shelves/s%2F1/books/b%3A1", "get_book_2", {"shelf": "s/1", "id": "b:1"}),
            ("PATCH", b"/v1/books/b1", "update_book", {"book.id": "b1"}),
            ("HEAD", b"/v1/books", "list_books", {}),
            ("GET", b"/v1/books?x=:y", "list_books", {}),
            ("GET", b"/.well-known/jwks.json", "get_key_set", {}),
        ],
    )
    def test_finds_the_operation(self, http: str, path: bytes, name: str, values: dict[str, str]) -> None:
        found = TABLE.match(http, path)

        assert found is not None
        if name != "get_key_set":
            assert (found[0].name, found[1]) == (name, values)

    @pytest.mark.parametrize("path", [b"/", b"", b"/v1", b"/v1/books/", b"/v1/books/b:nothing", b"/v1//books", b"*"])
    def test_knows_no_other(self, path: bytes) -> None:
        assert TABLE.match("GET", path) is None

    def test_says_which_methods_a_path_takes(self) -> None:
        with pytest.raises(MethodNotAllowed) as refused:
            TABLE.match("PUT", b"/v1/books/b1")
        assert refused.value.metadata["allow"] == "DELETE, GET, PATCH"


class TestContracts:
    @pytest.mark.parametrize(
        "change,error",
        [
            (('"/v1/books/{id}:archive"', '"/v1/books"'), ContractBroken),
            (("{public: true}", "{internal: true}"), ContractBroken),
            (('"/v1/books/{id}:download"', '"/v1/books/b-{id}"'), ContractBroken),
            (("    bytes chunk = 2;", "    string chunk = 2;"), ContractBroken),
            (("google.protobuf.Struct notes = 22", "google.protobuf.Any notes = 22"), UnsupportedType),
        ],
    )
    def test_refuses_what_cannot_be_served(self, change: tuple[str, str], error: type[Exception]) -> None:
        files = compiled(change if "Any" not in change[1] else (change[0], change[1]))
        with pytest.raises(error):
            Table(FileDescriptorSet(file=files.file))
