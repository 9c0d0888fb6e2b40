import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.openapi import describe

from ..library import library_table  # noqa: TID252  # tests are installed nowhere

GOLDEN = Path(__file__).parents[2] / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe(library_table(), version="1")


class TestGolden:
    def test_is_what_the_contracts_say(self) -> None:
        """After a change of contracts: python -m gateway openapi > gateway/openapi.json."""
        printed = subprocess.run([sys.executable, "-m", "gateway", "openapi"], check=True, capture_output=True).stdout

        assert printed.decode() == GOLDEN.read_text()

    def test_is_valid(self, document: dict[str, Any]) -> None:
        validate(document)


class TestOperations:
    def test_takes_its_texts_from_comments(self, document: dict[str, Any]) -> None:
        operation = document["paths"]["/v1/books"]["post"]

        assert operation["summary"] == "Adds a book"
        assert operation["tags"] == ["library: book"]
        assert "Needs the permission `library.books.create`, which developers" in operation["description"]
        default = operation["responses"]["default"]["description"]
        assert "`BOOK_TITLE_TAKEN`: ALREADY_EXISTS: another book has this title." in default

    def test_says_who_may(self, document: dict[str, Any]) -> None:
        assert document["paths"]["/v1/books:call"]["get"]["security"] == []
        assert document["paths"]["/v1/books"]["get"]["security"] == [{"bearer": []}, {"apiKey": []}]

    def test_names_statuses(self, document: dict[str, Any]) -> None:
        paths = document["paths"]

        assert {"201", "401", "403", "422", "429", "503", "504", "default"} <= set(
            paths["/v1/books"]["post"]["responses"]
        )
        assert {"202", "200"} <= set(paths["/v1/readings"]["post"]["responses"])
        assert "204" in paths["/v1/books/{id}"]["delete"]["responses"]

    def test_describes_queries(self, document: dict[str, Any]) -> None:
        parameters = {p["name"]: p["schema"] for p in document["paths"]["/v1/books"]["get"]["parameters"]}

        assert parameters["page_size"] == {"type": "integer", "format": "int32", "minimum": 0, "maximum": 200}
        assert parameters["genres"]["items"] == {"$ref": "#/components/schemas/Genre"}
        assert parameters["published_after"]["format"] == "date-time"

    def test_describes_uploads(self, document: dict[str, Any]) -> None:
        body = document["paths"]["/v1/shelves/{shelf}/books:upload"]["post"]["requestBody"]["content"]
        form = body["multipart/form-data"]["schema"]

        assert list(form["properties"]) == ["file_name", "media_type", "pages", "keywords", "notes", "file"]
        assert form["required"] == ["file"]


class TestSchemas:
    def test_constrains_as_the_contract_does(self, document: dict[str, Any]) -> None:
        schema = document["components"]["schemas"]["BookInput"]
        properties = schema["properties"]

        assert schema["required"] == ["title"]
        assert schema["additionalProperties"] is False
        assert properties["title"] == {
            "type": "string",
            "minLength": 1,
            "maxLength": 100,
            "description": "On the cover.",
        }
        assert (properties["pages"]["minimum"], properties["pages"]["maximum"]) == (0, 10000)
        assert (properties["printed"]["minimum"], properties["printed"]["maximum"]) == (-(2**53), 2**53)
        assert (properties["keywords"]["maxItems"], properties["keywords"]["uniqueItems"]) == (5, True)
        assert "id" not in properties

    def test_promises_every_field_of_a_reply(self, document: dict[str, Any]) -> None:
        schema = document["components"]["schemas"]["Book"]

        assert set(schema["required"]) == set(schema["properties"]) - {"shelf", "borrower"}
        assert schema["properties"]["subtitle"]["type"] == ["string", "null"]
        assert schema["properties"]["genre"]["anyOf"][1] == {"type": "null"}
        assert schema["properties"]["title"]["type"] == "string"

    def test_lets_a_patch_clear_what_can_change(self, document: dict[str, Any]) -> None:
        schema = document["components"]["schemas"]["BookPatch"]

        assert schema["minProperties"] == 1
        assert "required" not in schema
        assert not {"id", "etag", "isbn"} & set(schema["properties"])
        assert schema["properties"]["subtitle"]["type"] == ["string", "null"]

    def test_explains_enums(self, document: dict[str, Any]) -> None:
        schema = document["components"]["schemas"]["Genre"]

        assert schema["enum"] == ["novel", "essay"]
        assert "- `essay`: True." in schema["description"]
