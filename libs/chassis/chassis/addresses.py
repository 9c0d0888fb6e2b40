"""Which addresses may be reached on behalf of users. `ipaddress.is_global` alone lets several private ones through."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Services of cloud hosts that answer with credentials: those that would pass, and the well-known ones that would not.
_METADATA = frozenset(
    ip_address(text)
    for text in ("168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.169.254", "169.254.170.2", "fd00:ec2::254")
)
_REFUSED: Sequence[Network] = tuple(
    ip_network(text)
    for text in (
        "64:ff9b:1::/48",  # NAT64 of the local network
        "2001::/32",  # Teredo: where a packet goes is the relay's choice
        "fec0::/10",  # site-local: obsolete, and still routed here and there
        "192.88.99.0/24",  # relays of 6to4
    )
)
# Mapped, compatible and NAT64 addresses end with the IPv4 address that they stand for.
_ENDING_IN_IPV4: Sequence[Network] = tuple(ip_network(text) for text in ("::ffff:0:0/96", "::/96", "64:ff9b::/96"))
_6TO4 = ip_network("2002::/16")
_ISATAP = 0x0000_5EFE


def is_public(address: Address) -> bool:
    """Tell whether an address is a public host's. IPv4 addresses inside IPv6 ones count as what they stand for."""
    embedded = embedded_ipv4(address)
    if embedded is not None:
        return is_public(embedded)
    if address in _METADATA or _is_within(address, _REFUSED):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def embedded_ipv4(address: Address) -> IPv4Address | None:
    """Return the IPv4 address inside an IPv6 one: mapped, compatible, NAT64, 6to4, ISATAP; None without one."""
    if isinstance(address, IPv4Address):
        return None
    number = int(address)
    # ISATAP marks the middle of the address, with a bit that says whether the IPv4 address is unique in the world.
    if _is_within(address, _ENDING_IN_IPV4) or number >> 32 & 0xFDFF_FFFF == _ISATAP:
        return IPv4Address(number & 0xFFFF_FFFF)
    return IPv4Address(number >> 80 & 0xFFFF_FFFF) if address in _6TO4 else None


def is_allowed(address: Address, also: Sequence[Network] = ()) -> bool:
    """Tell whether an address is public, or in one of the networks that the operator allows as well."""
    return is_public(address) or _is_within(address, also)


def _is_within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
