"""Page tokens: what goes in comes out, and nothing else is taken."""

import base64
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.data.pagination import Key, binding, decode_token, encode_token, page_limit
from chassis.errors import PageTokenInvalid, ValidationFailed

BOUND_TO = binding(b"secret", scope="org", filter_key="all", order=[])
keys = st.lists(
    st.uuids()
    | st.datetimes(timezones=st.just(UTC))
    | st.integers(-(2**63), 2**63 - 1)
    | st.text()
    | st.booleans()
    | st.none(),
    max_size=5,
)


@given(keys)
def test_keep_the_keys(given_keys: list[Key]) -> None:
    assert decode_token(encode_token(BOUND_TO, given_keys), bound_to=BOUND_TO) == given_keys


@given(keys, st.integers(0), st.integers(1, 255))
def test_are_refused_when_a_byte_changed(given_keys: list[Key], place: int, change: int) -> None:
    token = encode_token(BOUND_TO, given_keys)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[place % len(raw)] ^= change
    changed = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    with pytest.raises(PageTokenInvalid):
        decode_token(changed, bound_to=BOUND_TO)


@given(st.text())
def test_are_refused_when_made_up(text: str) -> None:
    with pytest.raises(PageTokenInvalid):
        decode_token(text, bound_to=BOUND_TO)


@pytest.mark.parametrize(
    "other",
    [
        binding(b"other", scope="org", filter_key="all", order=[]),
        binding(b"secret", scope="other", filter_key="all", order=[]),
        binding(b"secret", scope="org", filter_key="other", order=[]),
    ],
)
def test_are_bound_to_secret_scope_and_filter(other: bytes) -> None:
    with pytest.raises(PageTokenInvalid):
        decode_token(encode_token(BOUND_TO, [1]), bound_to=other)


@pytest.mark.parametrize(("asked", "limit"), [(0, 50), (1, 1), (200, 200), (201, 200), (2**31 - 1, 200)])
def test_page_sizes_have_a_default_and_a_limit(asked: int, limit: int) -> None:
    assert page_limit(asked) == limit


def test_page_sizes_are_not_negative() -> None:
    with pytest.raises(ValidationFailed):
        page_limit(-1)
