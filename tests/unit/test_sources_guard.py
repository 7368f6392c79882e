"""The address guard: which addresses are asked for keys (R51)."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from skeldir_jwt_mw.sources.guard import (
    MAX_ADDRESSES,
    NEVER,
    PRIVATE,
    PUBLIC_PLAINTEXT,
    Address,
    admit,
    is_never_asked,
    is_public,
    literal,
    resolve,
)

PUBLIC_ADDRESSES = [
    "8.8.8.8",
    "93.184.216.34",
    "172.15.255.255",
    "172.32.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "223.255.255.255",
    "2606:2800:220:1:248:1893:25c8:1946",
    "2a00:1450:4001:80b::200e",
    "64:ff9b::8.8.8.8",  # how an IPv6-only network reaches IPv4
]
PRIVATE_ADDRESSES = [
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "100::1",
    "2001:db8::1",
    "2001:2::1",
    "3fff::1",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:0:10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "2002:0a00:0001::1",
    "2002:0808:0808::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]
NEVER_ASKED = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "febf::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:0808:0808:0:0:5601:5601",  # Teredo holds its client inverted: 169.254.169.254
    "2001:0:a9fe:a9fe::5601:5601",
    "2001:0:e000:1::f7f7:f7f7",  # its server: multicast, and half of it were public
    "::1:0",  # wraps 0.1.0.0
]


def address(text: str) -> Address:
    ip = ip_address(text)
    return Address(ip, socket.AF_INET if ip.version == 4 else socket.AF_INET6, (text, 443))


@pytest.mark.parametrize("text", PUBLIC_ADDRESSES)
def test_r51_a_public_address_is_asked(text: str) -> None:
    assert is_public(ip_address(text))
    assert admit([address(text)], allow_private_hosts=False, plaintext=False)[0] == [address(text)]


@pytest.mark.parametrize("text", PRIVATE_ADDRESSES)
def test_r51_a_private_address_is_asked_only_where_that_is_allowed(text: str) -> None:
    assert not is_public(ip_address(text))
    assert admit([address(text)], allow_private_hosts=False, plaintext=False) == ([], PRIVATE)
    assert admit([address(text)], allow_private_hosts=True, plaintext=False)[0] == [address(text)]


@pytest.mark.parametrize("text", NEVER_ASKED)
def test_r51_link_local_metadata_and_reserved_addresses_are_never_asked(text: str) -> None:
    assert is_never_asked(ip_address(text))
    assert not is_public(ip_address(text))
    for allowed in (False, True):
        assert admit([address(text)], allow_private_hosts=allowed, plaintext=False) == ([], NEVER)


def test_r51_a_host_without_any_address_is_told_apart() -> None:
    for plaintext in (False, True):
        nothing = admit([], allow_private_hosts=True, plaintext=plaintext)
        assert nothing == ([], "the host has no address")


def test_the_first_addresses_of_ipv6_wrap_nothing() -> None:
    for text in ("::1", "::2", "::ffff"):
        assert not is_never_asked(ip_address(text))
        assert not is_public(ip_address(text))


def test_an_address_of_a_zone_is_judged_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%eth0", 443, 0, 2))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [found])
    assert resolve("router.example", 443) == [
        Address(ip_address("fe80::1"), socket.AF_INET6, ("fe80::1%eth0", 443, 0, 2))
    ]


def test_r51_of_several_addresses_only_the_admitted_ones_are_asked() -> None:
    mixed = [address(text) for text in ("10.0.0.1", "8.8.8.8", "169.254.169.254", "::1")]
    assert admit(mixed, allow_private_hosts=False, plaintext=False)[0] == [address("8.8.8.8")]
    assert address("169.254.169.254") not in admit(mixed, allow_private_hosts=True, plaintext=False)[0]


def test_r50_plain_http_goes_to_private_addresses_alone() -> None:
    public, private = address("8.8.8.8"), address("127.0.0.1")
    assert admit([public], allow_private_hosts=True, plaintext=True) == ([], PUBLIC_PLAINTEXT)
    assert admit([public, private], allow_private_hosts=True, plaintext=True)[0] == [private]
    assert admit([private], allow_private_hosts=False, plaintext=True) == ([], PRIVATE)


def test_address_families_take_turns_and_only_a_few_addresses_are_tried() -> None:
    v6 = [address(f"2606::{n}") for n in range(1, 9)]
    v4 = [address(f"8.8.8.{n}") for n in range(1, 9)]
    admitted, _ = admit([*v6, *v4], allow_private_hosts=False, plaintext=False)
    assert admitted == [v6[0], v4[0], v6[1], v4[1]]
    assert len(admitted) == MAX_ADDRESSES


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
def test_every_notation_of_an_ipv4_address_is_recognised(host: str) -> None:
    assert literal(host) == ip_address("127.0.0.1")
    assert [found.ip for found in resolve(host, 443)] == [ip_address("127.0.0.1")]


def test_a_name_is_no_address() -> None:
    assert literal("login.example.com") is None
    assert literal("::1") == ip_address("::1")
