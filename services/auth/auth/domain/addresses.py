"""Lists of addresses that a key may be used from."""

import ipaddress
from collections.abc import Sequence

from auth.domain.errors import AddressRangeInvalid


def normalize(ranges: Sequence[str]) -> list[str]:
    """Write addresses and networks in one form, in the order given.

    Raises AddressRangeInvalid for what is neither, or a network whose host bits are set.
    """
    return [_normalize_one(text) for text in ranges]


def is_allowed(address: str, ranges: Sequence[str]) -> bool:
    """Say whether the address lies in one of the ranges. An empty list allows all; an unknown address none."""
    if not ranges:
        return True
    try:
        client = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(client, "ipv4_mapped", None)
    return any((mapped or client) in ipaddress.ip_network(text) for text in ranges)


def _normalize_one(text: str) -> str:
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise AddressRangeInvalid(address=text) from error
    is_single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if is_single else str(network)
