"""Which addresses may be reached on behalf of users. `ipaddress.is_global` alone lets several private ones through."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Services of cloud hosts that answer with credentials; the rest of theirs are link-local and not global anyway.
_METADATA = frozenset({ip_address("168.63.129.16"), ip_address("100.100.100.200"), ip_address("192.0.0.192")})

_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")
# Networks whose addresses stand for hosts that cannot be told from outside: local NAT64, Teredo, the obsolete site-
# local.
_OPAQUE = tuple(ip_network(text) for text in ("64:ff9b:1::/48", "2001::/32", "fec0::/10"))


def is_public(address: Address) -> bool:
    """Tell whether an address is a public host's. IPv4 addresses inside IPv6 ones count as what they stand for."""
    if isinstance(address, IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            return is_public(embedded)
        if any(address in network for network in _OPAQUE):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in _METADATA


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def is_allowed(address: Address, also: Sequence[Network] = ()) -> bool:
    """Tell whether an address is public, or in one of the networks that the operator allows as well."""
    return is_public(address) or any(address.version == network.version and address in network for network in also)
