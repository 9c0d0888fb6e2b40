"""Laws of the written form of API keys."""

import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.domain import api_keys

KEYS = st.binary(min_size=41, max_size=41).map(api_keys.mint)


class TestKeyText:
    @given(KEYS)
    def test_reads_back_what_it_wrote(self, key: api_keys.KeyText) -> None:
        assert api_keys.parse(key.show()) == key

    @given(KEYS)
    def test_has_the_documented_shape(self, key: api_keys.KeyText) -> None:
        prefix, environment, rest = key.show().split("_", 2)
        assert [prefix, environment, *map(len, rest.split("_"))] == ["dfk", "live", 12, 43, 6]

    @given(KEYS, st.integers(0, 71), st.sampled_from(string.ascii_letters + string.digits + "_-"))
    def test_refuses_any_single_wrong_character(self, key: api_keys.KeyText, position: int, letter: str) -> None:
        text = key.show()
        typo = text[:position] + letter + text[position + 1 :]
        if typo != text:
            assert api_keys.parse(typo) is None

    @given(KEYS, st.integers(0, 71))
    def test_refuses_a_truncated_key(self, key: api_keys.KeyText, length: int) -> None:
        assert api_keys.parse(key.show()[:length]) is None

    @pytest.mark.parametrize("text", ["", "dfk_live_", "Bearer x", "dfk_live_" + "é" * 64, "x" * 73])
    def test_refuses_what_is_no_key(self, text: str) -> None:
        assert api_keys.parse(text) is None

    def test_digest_depends_on_secret_public_part_and_pepper(self) -> None:
        key, other = api_keys.mint(os.urandom(41)), api_keys.mint(os.urandom(41))
        moved = api_keys.KeyText(public_id=other.public_id, secret=key.secret)
        digests = {
            key.digest(pepper=b"a"),
            key.digest(pepper=b"b"),
            other.digest(pepper=b"a"),
            moved.digest(pepper=b"a"),
        }
        assert len(digests) == 4

    def test_refuses_too_little_entropy(self) -> None:
        with pytest.raises(ValueError, match="41"):
            api_keys.mint(b"short")
