"""What a token costs before its signature is found good, in readings, checks and calls: no clock is asked.

The same tokens under the same options as in benchmarks/hostile.py, which tells the times.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from skeldir_jwt_mw import InvalidToken, Issuer, KeysUnavailable, RefreshPolicy, Verifier
from skeldir_jwt_mw.sources import CallableSource
from skeldir_jwt_mw.testing.tokens import SigningKey, mint

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from hostile import AUDIENCE, ISSUER, OPTIONS, OTHER, STUFFING, Scene, json_of

READERS = {"parse_object", "parse_brief", "parse_with_stdlib"}
CHECKS = {"verify_rsa", "verify_ecdsa", "verify_ed25519"}
MOST_KEYS = 4  # that a token without kid is tried with
MOST_CALLS = 300  # of Python and C; a token that is not stuffed takes a hundred


class Work(NamedTuple):
    """What was done for a token, at last if it has waited for keys."""

    verdict: object
    checks: int  # of its signature
    readings: int  # of its payload
    early: int  # those among them before the last check of its signature
    calls: int


def work_on(verifier: Verifier, token: str) -> Work:
    """Ask for a verdict, and watch."""
    done: Counter[str] = Counter()
    here = threading.get_ident()

    def watch(frame: Any, event: str, _: Any) -> None:
        if threading.get_ident() != here or not event.endswith("call"):
            return
        done["calls"] += 1
        if event != "call":
            return
        name, caller = frame.f_code.co_name, frame.f_back.f_code.co_name
        if name == "judge":  # anew, where it has waited for keys
            done.clear()
        if name in READERS and caller not in READERS | {"parse_header"}:
            done["readings"] += 1
        elif name in CHECKS:
            done["checks"] += 1
            done["early"] = done["readings"]

    sys.setprofile(watch)
    try:
        verdict: object = verifier.verify(token)
    except (InvalidToken, KeysUnavailable) as error:
        verdict = error
    finally:
        sys.setprofile(None)
    return Work(verdict, done["checks"], done["readings"], done["early"], done["calls"])


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nothing is logged, which would be counted."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("options", OPTIONS)
def test_no_hostile_token_costs_more_than_one_reading_one_check_and_a_few_calls(options: str) -> None:
    scene = Scene(options, algorithm="ES256", stuffed=True, **OPTIONS[options])
    try:
        for kind, token in scene.hostile():
            work = work_on(scene.verifier, token)
            assert isinstance(work.verdict, InvalidToken | KeysUnavailable), kind
            assert (work.checks <= 1, work.readings <= 1) == (True, True), kind
            assert work.calls <= MOST_CALLS, kind
            if "issuers" not in OPTIONS[options] and work.checks:
                assert work.readings == 0, kind
    finally:
        scene.verifier.close()


@pytest.mark.parametrize("options", OPTIONS)
def test_a_token_that_is_accepted_is_checked_once_and_read_once(options: str) -> None:
    scene = Scene(options, algorithm="ES256", **OPTIONS[options])
    try:
        for length in (500, 16_000):
            for token in scene.good(length):  # the first one's header is not remembered yet
                verdict, checks, readings, early, _ = work_on(scene.verifier, token)
                assert not isinstance(verdict, Exception)
                assert (checks, readings, early) == (1, 1, 0)
    finally:
        scene.verifier.close()


MORE_ISSUERS: dict[str, tuple[str, int]] = {  # put in front of the claims; how often they are read early
    "another issuer, of nobody here": ('"act":{"iss":"https://nobody.example/"}', 0),
    "the same issuer again": (f'"act":{{"iss":"{ISSUER}"}}', 0),
    "another issuer": (f'"act":{{"iss":"{OTHER}"}}', 1),
    "another issuer, escaped": (f'"act":{{"\\u0069s\\u0073":"{OTHER}"}}', 1),
    "more of them than are looked at": (f'"act":[{",".join([json_of({"iss": OTHER})] * 9)}]', 1),
    "an escape": ('"name":"\\u00e9"', 0),
    "a slash escaped": ('"url":"https:\\/\\/nobody.example\\/"', 0),
    "the name in a string": (f'"quoted":"\\"iss\\":\\"{OTHER}\\""', 0),
    "the name at the end of another": (f'"x\\"iss":"{OTHER}"', 1),
}


@pytest.mark.parametrize("name", MORE_ISSUERS)
@pytest.mark.parametrize("spelling", ['"iss":', '"\\u0069ss" :', '"i\\u0073\\u0073": '])
def test_a_token_of_one_of_several_issuers_is_read_once_whatever_else_it_names(
    name: str, spelling: str
) -> None:
    scene = Scene("three issuers", algorithm="ES256", **OPTIONS["three issuers"])
    try:
        payload = json_of(scene.claims()).replace('"iss":', spelling, 1)
        more, early = MORE_ISSUERS[name]
        key = scene.keys[0]
        token = scene.signed(key, json_of(scene.header()), "{" + more + "," + payload[1:])
        for _ in range(2):
            work = work_on(scene.verifier, token)
            assert not isinstance(work.verdict, Exception)
            assert work.verdict.issuer == ISSUER  # type: ignore[attr-defined]
            assert (work.checks, work.readings, work.early) == (1, 1, early)
        forged = scene.signed(scene.stranger, json_of(scene.header()), "{" + more + "," + payload[1:])
        assert work_on(scene.verifier, forged)[1:4] == (1, early, early)
    finally:
        scene.verifier.close()


@pytest.mark.parametrize("keys", range(1, MOST_KEYS + 1))
@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_a_token_without_kid_is_checked_with_each_key_once(keys: int, closed: bool) -> None:
    scene = Scene("no kid", algorithm="ES256", keys=keys, kid=None, closed=closed)
    try:
        header, claims = json_of(scene.header()), json_of(scene.claims())
        for number in (0, keys - 1, 0):  # another key than the one that is remembered for this header
            token = scene.signed(scene.keys[number], header, claims)
            work = work_on(scene.verifier, token)
            assert not isinstance(work.verdict, Exception)
            assert work.checks <= keys
            assert (work.readings, work.early) == (1, 0)
        forged = scene.signed(scene.stranger, header, json_of({**scene.claims(), "exp": 1}))
        assert work_on(scene.verifier, forged)[1:3] == (keys, 1)
    finally:
        scene.verifier.close()


LONG_TO_READ = [name for name in STUFFING if name.startswith(("empty", "small", "many", "short", "numbers"))]


@pytest.mark.parametrize("stuffing", LONG_TO_READ)
def test_a_new_key_is_found_for_a_token_that_is_not_read_before(stuffing: str) -> None:
    old, new = SigningKey.generate(kid="old"), SigningKey.generate(kid="new")
    published, asked = [old], 0

    def fetch() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"keys": [key.jwk() for key in published]}

    source = CallableSource(fetch, identity="rotating")
    verifier = Verifier(
        [Issuer(ISSUER, audience=AUDIENCE, source=source)], policy=RefreshPolicy(floor=200, jitter=0)
    )
    scene = Scene("claims", algorithm="ES256")
    try:
        verifier.warm()
        published.append(new)
        header, claims = json_of({"alg": "ES256", "typ": "at+jwt", "kid": "new"}), scene.claims()

        def stuffed(claims: dict[str, Any]) -> str:
            return scene.signed(new, header, json_of(claims)[:-1] + "," + STUFFING[stuffing](6000) + "}")

        with pytest.raises(InvalidToken, match="issuer") as caught:  # of another issuer: it earns nothing
            verifier.verify(stuffed({**claims, "iss": "https://nobody.example/"}))
        assert (caught.value.code, asked) == ("wrong_issuer", 1)
        with pytest.raises(
            InvalidToken, match="expired"
        ):  # it is read after its signature, and judged in full
            verifier.verify(stuffed({**claims, "exp": 1}))
        assert asked == 2
        assert verifier.verify(mint(new, claims)).kid == "new"
    finally:
        scene.verifier.close()
        verifier.close()
