"""Laws of address allow-lists."""

import pytest

from auth.domain import addresses
from auth.domain.errors import AddressRangeInvalid


class TestIsAllowed:
    @pytest.mark.parametrize(
        ("address", "ranges", "allowed"),
        [
            ("192.0.2.7", [], True),
            ("192.0.2.7", ["192.0.2.7"], True),
            ("192.0.2.8", ["192.0.2.7"], False),
            ("192.0.2.8", ["192.0.2.0/24"], True),
            ("::ffff:192.0.2.8", ["192.0.2.0/24"], True),
            ("2001:db8::1", ["192.0.2.0/24", "2001:db8::/32"], True),
            ("", ["0.0.0.0/0"], False),
            ("unix:", ["0.0.0.0/0"], False),
        ],
    )
    def test_compares_with_each_range(self, address: str, ranges: list[str], allowed: bool) -> None:
        assert addresses.is_allowed(address, ranges) is allowed


class TestNormalize:
    def test_writes_one_form(self) -> None:
        assert addresses.normalize(["192.0.2.7/32", " 10.0.0.0/8", "2001:DB8::/32"]) == [
            "192.0.2.7",
            "10.0.0.0/8",
            "2001:db8::/32",
        ]

    @pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "300.1.1.1", "10.0.0.0/33", ""])
    def test_refuses_what_is_no_range(self, text: str) -> None:
        with pytest.raises(AddressRangeInvalid):
            addresses.normalize([text])
