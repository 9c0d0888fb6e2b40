"""Which addresses users may have us reach."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.addresses import is_allowed, is_public


class TestIsPublic:
    @pytest.mark.parametrize(
        "text", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
    )
    def test_public_hosts(self, text: str) -> None:
        assert is_public(ip_address(text))

    @pytest.mark.parametrize(
        "text",
        [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "100.64.0.1",
            "::1",
            "::",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "ff02::1",
        ],
    )
    def test_what_must_not_be_reached(self, text: str) -> None:
        assert not is_public(ip_address(text))

    @given(st.ip_addresses(v=4))
    def test_an_embedded_address_counts_as_itself(self, address: object) -> None:
        four = ip_address(str(address))

        for text in (f"::ffff:{four}", f"64:ff9b::{four}"):
            assert is_public(ip_address(text)) == is_public(four)


class TestIsAllowed:
    def test_an_operator_can_add_networks(self) -> None:
        assert is_allowed(ip_address("127.0.0.1"), [ip_network("127.0.0.0/8")])
        assert not is_allowed(ip_address("::1"), [ip_network("127.0.0.0/8")])
