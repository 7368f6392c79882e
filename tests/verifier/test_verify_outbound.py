"""What tokens say leads to no request at all, as seen from the sockets (R14, R50)."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from verifying import Ask, MakeVerifier, issuer_of, policy_of, refusal

from skeldir_jwt_mw import InvalidToken
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

_watching = threading.Event()
_seen: list[tuple[str, Any]] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching.is_set() and event.startswith("socket.") and event != "socket.__new__":
        _seen.append((event, arguments[1:] if event == "socket.connect" else arguments))


sys.addaudithook(_watch)  # for good: hooks cannot be taken out again


@contextmanager
def watched() -> Iterator[list[tuple[str, Any]]]:
    """Whatever any thread does with sockets meanwhile."""
    _seen.clear()
    _watching.set()
    try:
        yield _seen
    finally:
        _watching.clear()


@pytest.fixture
def lure() -> Iterator[str]:
    """A server of the attacker's that really listens, so that a request would come through."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def lures(lure: str) -> list[str]:
    return [
        f"http://{lure}/jwks.json",
        f"https://{lure}/jwks.json",
        f"//{lure}/jwks.json",
        f"http://user:pass@{lure}/",
        "https://attacker.example/.well-known/jwks.json",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/",
        "ldap://attacker.example/x",
        "gopher://attacker.example/1",
        f"jdbc:postgresql://{lure}/x",
        "../../../../etc/passwd",
        "' UNION SELECT 'x",
        "${jndi:ldap://attacker.example/a}",
    ]


def test_r14_nothing_that_a_token_holds_is_ever_connected_to_or_looked_up(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, lure: str
) -> None:
    attacker = SigningKey.generate(kid="attacker")
    slow = policy_of(refresh_interval=3700.0, max_stale=7400.0, check_interval=3600.0, floor=3600.0)
    tolerant = make(issuer_of(idp, ignored_headers=("jku", "jwk", "x5c", "x5u")), policy=slow)
    strict = make(issuer_of(idp), policy=slow)
    for verifier in (tolerant, strict):
        ask(verifier, idp.token())
        # The one fetch that an unknown kid may cause; from here on the gate is closed.
        assert refusal(verifier, idp.stranger_token(), ask) == "unknown_kid"
    tokens = []
    old = {"iat": int(time.time()) - 180}  # so that the keys at hand are newer
    for url in lures(lure):
        for header in (
            {"jku": url},
            {"x5u": url},
            {"jku": url, "jwk": attacker.jwk(), "x5c": [url]},
            {"kid": url},
            {"kid": url, "jku": url, "x5u": url},
            {"typ": "JWT", "iss": url, "jwks_uri": url, "x5t#S256": url},
        ):
            tokens.append(idp.token(key=attacker, header=header, **old))
            tokens.append(idp.token(key=attacker, header=header, iss=url, aud=url))
            tokens.append(idp.token(header={**header, "kid": idp.kids[0]}, claims={"jku": url, "x": [url]}))
        tokens.append(idp.token(iss=url))
        tokens.append(idp.token(claims={"cnf": {"jku": url}}))
        tokens.append(idp.token(claims={"jwks_uri": url, "_claim_sources": {"src": {"endpoint": url}}}))
    accepted = 0
    with watched() as seen:
        for token in tokens:
            for verifier in (tolerant, strict):
                try:
                    ask(verifier, token)
                    accepted += 1
                except InvalidToken:
                    continue
    quiet = {"socket.bind", "socket.gethostname"}
    assert [event for event in seen if event[0] not in quiet] == []
    assert accepted > 0  # of those with members that are ignored, signed by the right key
    assert idp.fetches == 4


def test_r14_a_token_that_earns_a_fetch_earns_it_from_the_configured_place_alone(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask, lure: str
) -> None:
    attacker = SigningKey.generate(kid="attacker")
    verifier = make(issuer_of(idp, ignored_headers=("jku", "x5u")), policy=policy_of(floor=0.001))
    with watched() as seen:
        for url in lures(lure)[:8]:
            token = idp.token(key=attacker, header={"kid": url, "jku": url, "x5u": url})
            assert refusal(verifier, token, ask) == "unknown_kid"
    places = {arguments[-1] for event, arguments in seen if event == "socket.connect"}
    assert places == {("127.0.0.1", int(idp.origin.rpartition(":")[2]))}
    names = {arguments[0] for event, arguments in seen if event == "socket.getaddrinfo"}
    assert names <= {"127.0.0.1"}
