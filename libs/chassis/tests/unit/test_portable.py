"""JSON that can be stored and sent."""

import json
import math
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from chassis.portable import LARGEST_INTEGER, MOST_LEVELS, NotPortable, portable

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8)
VALUES = st.recursive(LEAVES, lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=4), part))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class TestPortable:
    @given(VALUES)
    def test_what_it_returns_can_be_stored_and_sent(self, value: Any) -> None:
        try:
            kept = portable(value)
        except NotPortable:
            return

        assert "\\u0000" not in json.dumps(kept, allow_nan=False)
        assert "\x00" not in json.dumps(kept, ensure_ascii=False).encode().decode()
        sent = Struct()
        sent.update({"value": kept})
        assert Struct.FromString(sent.SerializeToString()) == sent

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, LARGEST_INTEGER + 1, -LARGEST_INTEGER - 1])
    def test_numbers_that_change_on_the_way_are_refused(self, value: float) -> None:
        with pytest.raises(NotPortable):
            portable({"a": [value]})

    def test_depth_is_limited_long_before_the_stack_is(self) -> None:
        assert portable(nested(MOST_LEVELS)) == nested(MOST_LEVELS)
        with pytest.raises(NotPortable):
            portable(nested(MOST_LEVELS + 1))

    def test_texts_and_keys_are_mended(self) -> None:
        assert portable({"a\0": ["b\0c", "d\ud800"], "n": 5, "ok": True}) == {
            "a": ["bc", "d?"],
            "n": 5,
            "ok": True,
        }
