"""HTTP templates: arguments stay in their places."""

import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tool.domain.errors import ToolTemplateInvalid
from tool.domain.templates import HttpTemplate, check, fill

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}


class TestCheck:
    def test_accepts_places_that_the_schema_has(self) -> None:
        check(HttpTemplate("GET", "https://example.org/{city}?d={days}"), input_schema=SCHEMA)

    @pytest.mark.parametrize(
        "template",
        [
            HttpTemplate("GET", "https://example.org/{country}"),
            HttpTemplate("GET", "https://{city}.example.org/"),
            HttpTemplate("GET", "file:///etc/passwd"),
            HttpTemplate("GET", "/relative"),
            HttpTemplate("GET", "https://[::1"),
            HttpTemplate("GET", "https://example.org:99999/"),
            HttpTemplate("GET", "https://user:secret@example.org/"),
            HttpTemplate("GET", "https://example.org/", headers={"Host": "other"}),
            HttpTemplate("GET", "https://example.org/", headers={"Bad Name": "x"}),
        ],
    )
    def test_refuses_what_cannot_be_filled_or_could_leave_the_host(self, template: HttpTemplate) -> None:
        with pytest.raises(ToolTemplateInvalid) as refusal:
            check(template, input_schema=SCHEMA)

        assert refusal.value.violations


class TestFill:
    @given(st.text(max_size=40))
    def test_an_argument_in_the_path_stays_one_segment(self, city: str) -> None:
        city = city.encode("utf-8", "ignore").decode()
        request = fill(HttpTemplate("GET", "https://example.org/a/{city}/b"), {"city": city})

        parts = urlsplit(request.url)
        assert parts.hostname == "example.org"
        assert [unquote(part) for part in parts.path.split("/")] == ["", "a", city, "b"]

    def test_arguments_without_a_place_become_the_query_of_a_get(self) -> None:
        request = fill(HttpTemplate("GET", "https://example.org/{city}?u=m"), {"city": "Bonn", "days": 3})

        assert parse_qs(urlsplit(request.url).query) == {"u": ["m"], "days": ["3"]}

    def test_arguments_without_a_place_become_the_json_body_of_a_post(self) -> None:
        request = fill(HttpTemplate("POST", "https://example.org/{city}"), {"city": "Bonn", "days": 3})

        assert json.loads(request.content) == {"days": 3}
        assert request.headers["Content-Type"] == "application/json"

    @given(st.text(max_size=40))
    def test_a_place_in_a_json_body_keeps_it_json(self, city: str) -> None:
        request = fill(
            HttpTemplate("POST", "https://example.org/", body='{"q": "in {city}!", "n": {days}}'),
            {"city": city, "days": 3},
        )

        assert json.loads(request.content) == {"q": f"in {city}!", "n": 3}

    def test_line_breaks_cannot_add_a_header(self) -> None:
        request = fill(
            HttpTemplate("GET", "https://example.org/", headers={"X-City": "{city}"}), {"city": "a\r\nX-Admin: 1"}
        )

        assert request.headers == {"X-City": "a X-Admin: 1"}
