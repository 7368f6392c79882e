"""Which addresses may be asked for keys (R51), so that no URL leads into the network behind the service."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import zip_longest
from typing import NamedTuple, TypeAlias, cast

IPAddress: TypeAlias = IPv4Address | IPv6Address
SockAddr: TypeAlias = tuple[str, int] | tuple[str, int, int, int]

MAX_ADDRESSES = 4  # that one fetch tries to connect to

PRIVATE = "the host has none but private addresses, which need allow_private_hosts"
NEVER = "the host has none but addresses that are never asked for keys"
PUBLIC_PLAINTEXT = "plain http is for private addresses, and the host has none"

# No provider is there: this network, link-local with the clouds' metadata services, multicast, reserved.
_NEVER: tuple[IPv4Network | IPv6Network, ...] = (
    *map(IPv4Network, ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")),
    *map(IPv6Network, ("::/128", "fe80::/10", "ff00::/8")),
    # Metadata services elsewhere: Alibaba, Oracle, Azure; AWS and Google over IPv6.
    *map(IPv4Network, ("100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32")),
    *map(IPv6Network, ("fd00:ec2::254/128", "fd20:ce::254/128")),
)
# RFC 6890 and its registry, for IPv4: everything that is not the public Internet.
_PRIVATE = tuple(
    map(
        IPv4Network,
        (
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
        ),
    )
)
# For IPv6 the other way round: the public Internet is one block, less the special uses inside it.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SPECIAL = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))

_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_TEREDO = IPv6Network("2001::/32")
_6TO4 = IPv6Network("2002::/16")


class Address(NamedTuple):
    """A resolved address: what is judged, and what is connected to."""

    ip: IPAddress
    family: int
    sockaddr: SockAddr


Resolve: TypeAlias = Callable[[str, int], Sequence[Address]]


def resolve(host: str, port: int) -> list[Address]:
    """Ask the system's resolver; raises OSError or UnicodeError. Blocks for as long as the resolver likes."""
    return [
        Address(ip_address(str(sockaddr[0]).partition("%")[0]), family, cast(SockAddr, sockaddr))
        for family, _, _, _, sockaddr in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        if family in (socket.AF_INET, socket.AF_INET6)
    ]


def literal(host: str) -> IPAddress | None:
    """The address that a host is, in any notation that resolvers take (`127.1`, `0x7f000001`), else None."""
    host = host.removesuffix(".")  # that of a name's root, which some take behind an address too
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def is_never_asked(ip: IPAddress) -> bool:
    """Is it an address that no setting allows, also where it is wrapped in an IPv6 one?"""
    if any(ip in network for network in _NEVER):
        return True
    return isinstance(ip, IPv6Address) and any(map(is_never_asked, _embedded(ip)))


def is_public(ip: IPAddress) -> bool:
    """Is it an address of the public Internet?

    Of the IPv6 forms that wrap an IPv4 address only NAT64's is judged by what it wraps, since a network
    without IPv4 reaches everything through it (RFC 6052, RFC 6147); no honest resolver names the others.
    """
    if is_never_asked(ip):
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _PRIVATE)
    if ip in _NAT64:
        return all(map(is_public, _embedded(ip)))
    return ip in _GLOBAL_UNICAST and not any(ip in network for network in _SPECIAL)


def _embedded(ip: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address leads to or hides."""
    number = int(ip)
    low = IPv4Address(number & 0xFFFF_FFFF)
    if ip in _TEREDO:
        return (IPv4Address(number >> 64 & 0xFFFF_FFFF), IPv4Address(number & 0xFFFF_FFFF ^ 0xFFFF_FFFF))
    if ip in _6TO4:
        return (IPv4Address(number >> 80 & 0xFFFF_FFFF),)
    if ip in _COMPATIBLE:
        return (low,) if number > 0xFFFF else ()  # ::1 and its neighbours wrap nothing
    if any(ip in network for network in (_MAPPED, _TRANSLATED, _NAT64, _LOCAL_NAT64)):
        return (low,)
    return ()


def admit(
    addresses: Sequence[Address], *, allow_private_hosts: bool, plaintext: bool
) -> tuple[list[Address], str]:
    """The addresses that may be connected to, families taking turns; and, should it be none, why.

    Plain http goes to private addresses alone (R50): who carries it over the Internet could choose the keys.
    """
    bearable = [address for address in addresses if not is_never_asked(address.ip)]
    if not bearable:
        return [], NEVER if addresses else "the host has no address"
    if plaintext:
        reason = PUBLIC_PLAINTEXT if all(is_public(address.ip) for address in bearable) else PRIVATE
        admitted = [address for address in bearable if allow_private_hosts and not is_public(address.ip)]
    else:
        reason = PRIVATE
        admitted = [address for address in bearable if allow_private_hosts or is_public(address.ip)]
    preferred = [address for address in admitted if address.family == admitted[0].family]
    others = [address for address in admitted if address.family != admitted[0].family]
    turns = [address for pair in zip_longest(preferred, others) for address in pair if address is not None]
    return turns[:MAX_ADDRESSES], reason
