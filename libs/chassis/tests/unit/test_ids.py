"""Ids, inside and outside."""

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidId
from chassis.ids import ORGANIZATION, USER, IdKind, job_id, new_id, parse_any

DOCUMENT = IdKind("doc")


class TestIdKind:
    @given(st.uuids())
    def test_shows_and_parses_back(self, value: UUID) -> None:
        text = DOCUMENT.show(value)

        assert DOCUMENT.parse(text) == value
        assert len(text) == len("doc_") + 26

    @given(st.text(max_size=40))
    def test_has_one_spelling_only(self, text: str) -> None:
        try:
            value = DOCUMENT.parse(text)
        except InvalidId:
            return
        assert DOCUMENT.show(value) == text

    @given(st.uuids(), st.uuids())
    def test_sorts_as_the_uuids_do(self, one: UUID, other: UUID) -> None:
        assert (DOCUMENT.show(one) < DOCUMENT.show(other)) == (one < other)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "doc",
            "doc_",
            "doc_" + "0" * 25,
            "doc_" + "0" * 27,
            "doc_8" + "0" * 25,
            "kb_" + "0" * 26,
            "doc_" + "u" * 26,
        ],
    )
    def test_refuses_what_is_no_id_of_its_kind_and_names_the_field(self, text: str) -> None:
        with pytest.raises(InvalidId) as caught:
            DOCUMENT.parse(text, field="document_id")

        assert caught.value.metadata == {"field": "document_id", "expected": "doc"}

    def test_refuses_another_case(self) -> None:
        with pytest.raises(InvalidId):
            DOCUMENT.parse(DOCUMENT.show(new_id()).upper())

    def test_refuses_a_prefix_that_could_not_be_told_from_the_rest(self) -> None:
        with pytest.raises(ValueError, match="prefix"):
            IdKind("Doc_")


class TestParseAny:
    def test_tells_whose_id_it_is(self) -> None:
        value = new_id()

        assert parse_any(USER.show(value)) == ("user", value)
        assert parse_any(job_id("kb").show(value)) == ("job_kb", value)

    @pytest.mark.parametrize("text", ["", "_" + "0" * 26, "user", "user_x"])
    def test_refuses_what_is_no_id(self, text: str) -> None:
        with pytest.raises(InvalidId):
            parse_any(text)


class TestNewId:
    def test_is_a_uuid_of_version_seven(self) -> None:
        value = new_id()

        assert (value.version, value.variant) == (7, "specified in RFC 4122")

    def test_rises_with_time(self) -> None:
        made = [new_id() for _ in range(2000)]

        # Within the 244 nanoseconds that the clock is kept to, chance decides.
        assert sum(a > b for a, b in pairwise(made)) < len(made) / 10
        assert len(set(made)) == len(made)
        assert ORGANIZATION.show(made[0]) < ORGANIZATION.show(made[-1])
