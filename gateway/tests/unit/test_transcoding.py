import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import ValidationFailed
from gateway.transcoding import Codec
from gateway.values import MAX_INTEGER, Problems

from ..library import SERVICE, library_table  # noqa: TID252  # tests are installed nowhere

TABLE = library_table()
CODEC = Codec()
BOOK = TABLE.pool.FindMessageTypeByName("definable.library.v1.Book")
BOOK_CLASS = TABLE.by_rpc[f"{SERVICE}.GetBook"].reply_class
READ, WRITE = CODEC.reader(BOOK), CODEC.writer(BOOK)
OUTPUT_ONLY = {"id", "etag"}

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
free = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
genre = st.sampled_from(["novel", "essay"])
author = st.recursive(
    st.fixed_dictionaries({}, optional={"name": text}),
    lambda inner: st.fixed_dictionaries({"name": text}, optional={"aliases": st.lists(inner, max_size=2)}),
    max_leaves=4,
)
int32 = st.integers(-(2**31), 2**31 - 1)
book = st.fixed_dictionaries(
    {},
    optional={
        "title": text,
        "subtitle": text,
        "pages": int32,
        "printed": st.integers(-MAX_INTEGER, MAX_INTEGER),
        "sold": st.integers(0, MAX_INTEGER),
        "score": finite,
        "weight": st.floats(allow_nan=False, allow_infinity=False, width=32),
        "available": st.booleans(),
        "cover": st.sampled_from(["", "AA==", "+/+/", "aGVsbG8="]),
        "genre": genre,
        "genres": st.lists(genre, max_size=3),
        "keywords": st.lists(text, max_size=3),
        "translations": st.dictionaries(text, text, max_size=3),
        "people": st.dictionaries(text, author, max_size=2),
        "chapters": st.dictionaries(int32.map(str), int32, max_size=3),
        "author": author,
        "publish_time": st.datetimes().map(lambda t: t.isoformat() + "Z"),
        "reading_time": st.integers(-999_999, 999_999).map(lambda n: f"{n / 1000}s"),
        "notes": st.dictionaries(text, free, max_size=3),
        "mark": free,
        "marks": st.lists(free, max_size=3),
        "edition": int32,
        "isbn": text,
    },
)


def read(value: Any) -> Any:
    problems = Problems()
    message = READ(value, "", problems)
    problems.raise_if_any()
    return message


def violations(value: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as refused:
        read(value)
    return [(violation.field, violation.rule) for violation in refused.value.violations]


def long_names(value: dict[str, Any]) -> dict[str, Any]:
    """Name enum values as json_format does."""
    changed = dict(value)
    if value.get("genre"):
        changed["genre"] = "GENRE_" + value["genre"].upper()
    if "genres" in value:
        changed["genres"] = ["GENRE_" + name.upper() for name in value["genres"]]
    return changed


def comparable(value: Any) -> Any:
    """Drop what is unset and zeroes of enums; json_format writes 64-bit integers as texts."""
    if isinstance(value, dict):
        kept = {key: comparable(item) for key, item in value.items() if item is not None}
        return {k: int(v) if k in ("printed", "sold") else v for k, v in kept.items() if v != "GENRE_UNSPECIFIED"}
    return [comparable(item) for item in value] if isinstance(value, list) else value


class TestAgainstJsonFormat:
    @settings(deadline=None, max_examples=300)
    @given(book)
    def test_reads_the_same_message(self, value: dict[str, Any]) -> None:
        expected = json_format.ParseDict(long_names(value), BOOK_CLASS())

        assert read(value) == expected

    @settings(deadline=None, max_examples=300)
    @given(book)
    def test_writes_the_same_json(self, value: dict[str, Any]) -> None:
        message = json_format.ParseDict(long_names(value), BOOK_CLASS())
        expected = json_format.MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )

        assert comparable(long_names(WRITE(message))) == comparable(expected)

    @settings(deadline=None, max_examples=200)
    @given(book)
    def test_reads_what_it_writes(self, value: dict[str, Any]) -> None:
        written = json.loads(json.dumps(WRITE(read(value))))

        assert WRITE(read({key: item for key, item in written.items() if key not in OUTPUT_ONLY})) == written


class TestWriting:
    def test_has_a_stable_shape(self) -> None:
        written = WRITE(BOOK_CLASS())

        assert list(written) == [field.name for field in BOOK.fields if field.name not in ("shelf", "borrower")]
        assert (written["title"], written["pages"], written["genres"], written["translations"]) == ("", 0, [], {})
        unset = ["subtitle", "genre", "author", "publish_time", "notes", "mark", "edition"]
        assert [written[name] for name in unset] == [None] * len(unset)

    def test_shows_the_chosen_member_of_a_oneof_only(self) -> None:
        written = WRITE(BOOK_CLASS(shelf=""))

        assert written["shelf"] == ""
        assert "borrower" not in written

    def test_shows_enum_values_of_a_newer_contract_as_numbers(self) -> None:
        assert WRITE(BOOK_CLASS(genre=77))["genre"] == "77"

    def test_writes_timestamps_as_rfc_3339(self) -> None:
        message: Any = BOOK_CLASS()
        shown = {0: "Z", 500_000_000: ".500Z", 1_000: ".000001Z", 1: ".000000001Z"}
        for nanos, tail in shown.items():
            message.publish_time.seconds, message.publish_time.nanos = 1767323045, nanos
            assert WRITE(message)["publish_time"] == "2026-01-02T03:04:05" + tail


class TestReading:
    @pytest.mark.parametrize(
        "value,expected",
        [
            ([], ("", "type")),
            ({"title": 1}, ("title", "type")),
            ({"titel": "x"}, ("titel", "unknown_field")),
            ({"id": "x"}, ("id", "output_only")),
            ({"pages": 1.5}, ("pages", "type")),
            ({"pages": True}, ("pages", "type")),
            ({"pages": "1"}, ("pages", "type")),
            ({"pages": 2**31}, ("pages", "range")),
            ({"printed": MAX_INTEGER + 1}, ("printed", "range")),
            ({"printed": "1"}, ("printed", "type")),
            ({"sold": -1}, ("sold", "range")),
            ({"weight": 1e39}, ("weight", "range")),
            ({"score": math.inf}, ("score", "range")),
            ({"available": 1}, ("available", "type")),
            ({"cover": "?"}, ("cover", "format")),
            ({"genre": "unspecified"}, ("genre", "enum")),
            ({"genre": "GENRE_NOVEL"}, ("genre", "enum")),
            ({"genre": 1}, ("genre", "enum")),
            ({"genres": ["novel", None]}, ("genres[1]", "enum")),
            ({"keywords": "x"}, ("keywords", "type")),
            ({"keywords": ["a", 1]}, ("keywords[1]", "type")),
            ({"translations": {"de": 1}}, ("translations.de", "type")),
            ({"chapters": {"one": 1}}, ("chapters.one", "type")),
            ({"people": {"editor": {"nmae": ""}}}, ("people.editor.nmae", "unknown_field")),
            ({"author": {"aliases": [{"name": 1}]}}, ("author.aliases[0].name", "type")),
            ({"shelf": "a", "borrower": {}}, ("borrower", "oneof")),
            ({"publish_time": "yesterday"}, ("publish_time", "format")),
            ({"publish_time": 5}, ("publish_time", "format")),
            ({"publish_time": "2026-02-30T00:00:00Z"}, ("publish_time", "format")),
            ({"reading_time": "1 hour"}, ("reading_time", "format")),
            ({"notes": []}, ("notes", "type")),
            ({"notes": {"n": MAX_INTEGER * 2}}, ("notes.n", "range")),
            ({"notes": {"a\0": 1}}, ("notes", "nul")),
            ({"title": "a\0b"}, ("title", "nul")),
            ({"marks": {}}, ("marks", "type")),
        ],
    )
    def test_refuses_with_the_path(self, value: Any, expected: tuple[str, str]) -> None:
        assert violations(value) == [expected]

    def test_names_all_that_is_wrong_up_to_twenty(self) -> None:
        assert violations({"title": 1, "pages": "x"}) == [("title", "type"), ("pages", "type")]
        assert len(violations({"keywords": list(range(50))})) == 20

    def test_takes_null_for_unset(self) -> None:
        assert read({"title": None, "author": None, "genres": None, "genre": None}) == BOOK_CLASS()

    def test_keeps_null_where_anything_may_stand(self) -> None:
        assert read({"mark": None}).mark.WhichOneof("kind") == "null_value"

    def test_takes_whole_floats_for_integers(self) -> None:
        assert read({"pages": 3.0}).pages == 3

    def test_sets_an_empty_message(self) -> None:
        assert read({"author": {}}).HasField("author")


class TestPatching:
    def patch(self, value: Any) -> tuple[Any, list[str], list[tuple[str, str]]]:
        problems, message = Problems(), BOOK_CLASS(title="old", author={"name": "A"})
        paths = READ.patch(message, value, problems)
        return message, paths, [(v.field, v.rule) for v in problems.violations]

    def test_replaces_messages_and_clears_with_null(self) -> None:
        problems, message = Problems(), BOOK_CLASS()
        paths = READ.patch(message, {"author": {"aliases": []}, "subtitle": None}, problems)

        assert paths == ["author", "subtitle"]
        assert message == BOOK_CLASS(author={})
        assert not problems.violations

    @pytest.mark.parametrize(
        "value,violation",
        [
            ({}, ("", "required")),
            (None, ("", "type")),
            ({"isbn": "1"}, ("isbn", "immutable")),
            ({"isbn": None}, ("isbn", "immutable")),
            ({"etag": None}, ("etag", "output_only")),
            ({"x": None}, ("x", "unknown_field")),
        ],
    )
    def test_refuses(self, value: Any, violation: tuple[str, str]) -> None:
        assert self.patch(value)[2] == [violation]
