import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.bodies import BodyGuard, FormUpload, disposition_name, parse_json
from gateway.errors import BodyTooLarge, MalformedBody, UploadInvalid

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def guard(
    *pieces: bytes, headers: dict[bytes, bytes] | None = None, limit: int = 1000, stalls: bool = False
) -> BodyGuard:
    """Return a guard before a connection that sends pieces, and stalls or ends after them."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if not stalls:
        messages.append({"type": "http.request", "body": b"", "more_body": False})
    queue = iter(messages)

    async def receive() -> dict[str, Any]:
        for message in queue:
            return message
        await asyncio.sleep(60)
        raise AssertionError

    return BodyGuard(receive, headers or {b"transfer-encoding": b"chunked"}, limit_bytes=limit, idle_seconds=0.05)


class TestBodyGuard:
    async def test_joins_pieces(self) -> None:
        assert await guard(b"a", b"b", b"c").read() == b"abc"

    async def test_reads_nothing_where_no_body_is_declared(self) -> None:
        assert await guard(stalls=True, headers={b"host": b"x"}).read() == b""

    async def test_counts_what_arrives(self) -> None:
        assert len(await guard(b"a" * 1000).read()) == 1000
        with pytest.raises(BodyTooLarge):
            await guard(b"a" * 500, b"a" * 501).read()

    async def test_believes_what_is_declared(self) -> None:
        with pytest.raises(BodyTooLarge):
            await guard(headers={b"content-length": b"1001"}, stalls=True).read()

    async def test_gives_up_on_a_pause(self) -> None:
        with pytest.raises(MalformedBody):
            await guard(b"a", stalls=True).read()

    async def test_discards_a_rest(self) -> None:
        assert await guard(*[b"a" * 900] * 20).discard()
        assert not await guard(headers={b"content-length": b"9", b"expect": b"100-continue"}, stalls=True).discard()


class TestJson:
    @settings(deadline=None)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**200), 2**200)
            | st.text(st.characters(exclude_categories=["Cs"])),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
            max_leaves=20,
        )
    )
    def test_reads_what_json_is(self, value: Any) -> None:
        assert parse_json(json.dumps(value).encode(), depth=64) == value

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"{", b"[1,]", b"NaN", b"Infinity", b"-Infinity", b"'a'", b'"\\ud800"', b'"\xff"', b'{"a":1,"a":1}',
            b"1e999", b'{"b":[{"a":1,"a":2}]}', b'"\x01"', b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":' * 100_000, b"01",
            b"{}{}",
        ],
    )  # fmt: skip
    def test_refuses_anything_else(self, body: bytes) -> None:
        with pytest.raises(MalformedBody):
            parse_json(body, depth=64)

    def test_refuses_what_is_too_deep(self) -> None:
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            inner = b"[]" if opening == b"[" else b"{}"
            parse_json(opening * 63 + inner + closing * 63, depth=64)
            with pytest.raises(MalformedBody):
                parse_json(opening * 64 + inner + closing * 64, depth=64)

    def test_does_not_mind_brackets_in_texts_or_beside_each_other(self) -> None:
        assert parse_json(b'["' + b"[" * 500 + b'"]', depth=64)
        assert len(parse_json(b"[" + b"{}," * 500 + b"{}]", depth=64)) == 501


class TestForm:
    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=3000), st.integers(1, 700))
    def test_gives_the_same_bytes_however_they_arrive(self, content: bytes, size: int) -> None:
        async def upload() -> tuple[Any, bytes]:
            body = (
                b'--xx\r\nContent-Disposition: form-data; name="note"\r\n\r\nsome words\r\n'
                b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: a/b\r\n\r\n'
                + content
                + b"\r\n--xx--\r\n"
            )
            pieces = [body[i : i + size] for i in range(0, len(body), size)]
            form = FormUpload(guard(*pieces, limit=10_000), b"xx", most_parts=20)
            start = await form.start()
            return start, b"".join([piece async for piece in form.content()])

        start, received = asyncio.run(upload())
        if b"\r\n--xx" not in content:
            assert received == content
            assert (start.fields, start.file_name, start.media_type) == ({"note": ["some words"]}, "a.bin", "a/b")

    async def test_refuses_endless_part_headers(self) -> None:
        form = FormUpload(guard(b"--xx\r\nA: " + b"b" * 9000, limit=100_000), b"xx", most_parts=20)

        with pytest.raises((UploadInvalid, MalformedBody)):
            await form.start()


class TestDispositionName:
    @pytest.mark.parametrize(
        "header,name",
        [
            ("", ""),
            ("attachment", ""),
            ('attachment; filename="a b.txt"', "a b.txt"),
            ("attachment; filename*=UTF-8''%C3%BC.txt", "ü.txt"),
        ],
    )
    def test_reads_names(self, header: str, name: str) -> None:
        assert disposition_name(header) == name
