"""Where a fetch can get to, seen from the sockets: nothing leads it to a refused address."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.sources import Conditional, DiscoverySource, FetchFailed, JWKSUrlSource
from skeldir_jwt_mw.sources.guard import Address, is_never_asked, is_public, literal
from skeldir_jwt_mw.testing import LoopbackIssuer

_watching = threading.Event()
_seen: list[tuple[str, Any]] = []
METADATA = ip_address("169.254.169.254")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching.is_set() and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        _seen.append((event, arguments[1] if event == "socket.connect" else arguments[0]))


sys.addaudithook(_watch)  # for good: hooks cannot be taken out again


@contextmanager
def watched() -> Iterator[list[tuple[str, Any]]]:
    """All that any thread connects to, or asks the resolver for, meanwhile."""
    _seen.clear()
    _watching.set()
    try:
        yield _seen
    finally:
        _watching.clear()


def connects(seen: Sequence[tuple[str, Any]]) -> list[Any]:
    return [where for event, where in seen if event != "socket.getaddrinfo"]


SPELLINGS = [
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "00000251.0376.43518",
    "169.254.43518",
    "169.16689662",
    "0xa9.254.0251.0xFE",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::169.254.169.254]",
    "[::ffff:0:a9fe:a9fe]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::169.254.169.254]",
    "[64:ff9b:1:ffff::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[2002:a9fe:a9fe:1234::5]",
    "[2001:0:a9fe:a9fe::1]",
    "[2001::5601:5601]",
    "[fd00:ec2::254]",
    "[FD00:0EC2:0:0::254]",
    "[fe80::a9fe:a9fe]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "0.0.0.0",
    "0",
    "0x0",
    "0.1",
    "[::]",
    "255.255.255.255",
    "224.0.0.1",
    "[ff02::1]",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
]


@pytest.mark.parametrize("allow_private_hosts", [False, True])
@pytest.mark.parametrize("host", SPELLINGS)
def test_r51_no_spelling_of_a_forbidden_address_is_connected_to(host: str, allow_private_hosts: bool) -> None:
    with watched() as seen:
        try:
            source = JWKSUrlSource(
                f"https://{host}/jwks", timeout=1.0, allow_private_hosts=allow_private_hosts
            )
        except ConfigurationError:
            return  # no URL at all: a zone, for example
        with pytest.raises(FetchFailed):
            source.fetch(Conditional())
    assert connects(seen) == []


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254.",
        "2852039166.",
        "0xA9FEA9FE.",
        "127.0.0.1.",
        *("\u2460\u2461\u2466.0.0.1", "127\u30020.0.1", "\uff11\uff12\uff17.0.0.1", "loc\u00e4lhost"),
        *(
            "%31%32%37.0.0.1",
            "127.0.0.1%00.example.com",
            "127.0.0.1%2f.example.com",
            "127.0.0.1\\.example.com",
        ),
        *("user@127.0.0.1", "user:pass@127.0.0.1", "example.com:80@127.0.0.1", "@127.0.0.1"),
        *(
            "127.0.0.1#@example.com",
            "127.0.0.1#.example.com",
            "[::1",
            "::1",
            "[127.0.0.1]",
            "[::1].example.com",
        ),
        *("", ".", "..", " 127.0.0.1", "127.0.0.1 ", "127.0.0.1\t", "127.0.0.1\0.example.com"),
    ],
)
def test_r50_a_host_in_disguise_is_refused_or_goes_nowhere(host: str) -> None:
    with watched() as seen:
        try:
            source = JWKSUrlSource(f"https://{host}/jwks", timeout=1.0)
        except ConfigurationError:
            return
        with pytest.raises(FetchFailed):
            source.fetch(Conditional())
    # The system's resolver may ask a name server, but nothing is asked for keys.
    assert [where for where in connects(seen) if where[1] == 443] == []


@pytest.mark.parametrize("host", ["169.254.169.254.", "2852039166.", "0xA9FEA9FE.", "127.0.0.1."])
def test_r51_a_dot_behind_an_address_does_not_make_it_a_name_for_a_proxy_to_resolve(host: str) -> None:
    assert literal(host) in (METADATA, ip_address("127.0.0.1"))
    with socket.create_server(("127.0.0.1", 0)) as proxy, watched() as seen:
        at = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        with pytest.raises(FetchFailed, match="the host has none but"):
            JWKSUrlSource(f"https://{host}/jwks", timeout=1.0, proxy=at).fetch(Conditional())
    assert connects(seen) == []


@pytest.mark.parametrize("fragment", ["#", "#x", "?a#b"])
def test_r50_no_url_with_a_fragment_is_fetched(fragment: str) -> None:
    with pytest.raises(ConfigurationError, match="fragment"):
        JWKSUrlSource(f"https://keys.example.com/jwks{fragment}")


# -- names that change their mind ----------------------------------------------------------------------------


def alternating(port: int) -> Any:
    """A name server that answers with a good address and a bad one in turns, alone and together."""
    here = Address(IPv4Address("127.0.0.1"), socket.AF_INET, ("127.0.0.1", port))
    evil = Address(IPv4Address("169.254.169.254"), socket.AF_INET, ("169.254.169.254", port))
    answers = [[here], [evil], [evil, here], [here, evil], []]
    asked: list[str] = []

    def resolve(host: str, _: int) -> list[Address]:
        asked.append(host)
        return answers[(len(asked) - 1) % len(answers)]

    return resolve, asked


def test_r51_a_name_that_alternates_is_asked_for_once_a_fetch_and_connected_to_as_judged() -> None:
    with LoopbackIssuer() as idp:
        port = int(idp.origin.rpartition(":")[2])
        source = JWKSUrlSource(
            f"http://keys.example.com:{port}/.well-known/jwks.json",
            timeout=1.0,
            allow_http=True,
            allow_private_hosts=True,
        )
        resolve, asked = alternating(port)
        source._resolve_with(resolve)
        outcomes = []
        with watched() as seen:
            for number in range(10):
                try:
                    outcomes.append(source.fetch(Conditional()).document is not None)
                except FetchFailed:
                    outcomes.append(False)
                assert len(asked) == number + 1
        assert outcomes == [True, False, True, True, False] * 2
        assert {where[0] for where in connects(seen)} == {"127.0.0.1"}
        assert [event for event, _ in seen if event == "socket.getaddrinfo"] == []


def test_r51_metadata_cannot_send_a_fetch_to_where_its_own_host_may_not_be() -> None:
    with LoopbackIssuer() as idp:
        for uri in ("http://169.254.169.254/jwks", "http://[::ffff:a9fe:a9fe]/jwks", "http://0/jwks"):
            idp.describe("openid-configuration", {"jwks_uri": uri})
            source = DiscoverySource(idp.issuer, timeout=1.0, allow_http=True, allow_private_hosts=True)
            with watched() as seen, pytest.raises(FetchFailed):
                source.fetch(Conditional())
            assert {where[1] for where in connects(seen)} == {int(idp.origin.rpartition(":")[2])}


# -- all addresses -------------------------------------------------------------------------------------------

V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
WRAPPED = st.builds(
    lambda make, inner: make(int(inner)),
    st.sampled_from(
        [
            lambda number: IPv6Address(0xFFFF << 32 | number),
            lambda number: IPv6Address(number),
            lambda number: IPv6Address(0xFFFF << 48 | number),
            lambda number: IPv6Address(0x64_FF9B << 96 | number),
            lambda number: IPv6Address(0x64_FF9B_0001 << 80 | number),
            lambda number: IPv6Address(0x2002 << 112 | number << 80),
            lambda number: IPv6Address(0x2001 << 112 | number << 64),
            lambda number: IPv6Address(0x2001 << 112 | (number ^ 0xFFFF_FFFF)),
        ]
    ),
    V4,
)
V6 = st.one_of(st.integers(0, 2**128 - 1), st.integers(0x2 << 124, 0x4 << 124)).map(IPv6Address)
NAT64 = 0x64_FF9B << 64


@settings(max_examples=2000, deadline=None)
@given(ip=st.one_of(V4, V6, WRAPPED))
@example(ip=ip_address("64:ff9b::a9fe:a9fe"))
def test_r51_what_is_public_to_us_is_global_to_everybody(ip: IPv4Address | IPv6Address) -> None:
    """Against the registries as the standard library has them, which leave NAT64 open."""
    if is_public(ip):
        judged = ip
        if isinstance(ip, IPv6Address) and int(ip) >> 32 == NAT64:
            judged = IPv4Address(int(ip) & 0xFFFF_FFFF)
        assert judged.is_global
        assert not judged.is_multicast
        assert not judged.is_link_local
        assert not is_never_asked(ip)


@settings(max_examples=300, deadline=None)
@given(ip=st.one_of(V4, V6))
def test_r51_any_address_is_judged_alike_in_every_spelling(ip: IPv4Address | IPv6Address) -> None:
    number = int(ip)
    spellings = [str(ip), ip.exploded]
    if isinstance(ip, IPv4Address):
        spellings += [str(number), hex(number), f"0{number:o}", f"{number >> 24}.{number & 0xFFFFFF}"]
        spellings += [".".join(f"0{octet:o}" for octet in ip.packed), ".".join(map(hex, ip.packed)), f"{ip}."]
    for spelling in spellings:
        assert literal(spelling) == ip
