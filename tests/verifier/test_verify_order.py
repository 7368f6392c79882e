"""What is cheap is judged first, in one order for all tokens: a refusal costs little and tells nothing."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from verifying import MakeVerifier, issuer_of, policy_of, refusal

from skeldir_jwt_mw import InvalidToken, Verifier
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

SLOW = policy_of(refresh_interval=3700.0, max_stale=7400.0, check_interval=3600.0, floor=3600.0)
# By function, the stage that it belongs to, from cheap to dear. None of the earlier ones follows a later one.
STAGES = {
    "exact": "framing",
    "split": "framing",
    "parse_header": "header",
    "admit": "header",
    "bind": "key",
    "verify_ecdsa": "signature",
    "parse_object": "JSON",
    "check": "claims",
}
ORDER = list(dict.fromkeys(STAGES.values()))


def stages_of(verifier: Verifier, token: Any) -> list[str]:
    """The stages that a refused token goes through, in their order."""
    seen: list[str] = []
    here = threading.get_ident()

    def profile(frame: Any, event: str, _: Any) -> None:
        if event == "call" and threading.get_ident() == here and "skeldir_jwt_mw" in frame.f_code.co_filename:
            stage = STAGES.get(frame.f_code.co_name)
            # The header is JSON too; where it is read tells which stage that belongs to.
            if stage == "JSON" and frame.f_back.f_code.co_name == "parse_header":
                stage = "header"
            if stage is not None:
                seen.append(stage)

    sys.setprofile(profile)
    try:
        refusal(verifier, token)
    finally:
        sys.setprofile(None)
    return [stage for stage, _ in itertools.groupby(seen)]


Spoil = dict[str, Any]
# Each with the last stage that it gets to. Combined, the first of them decides.
DEFECTS: dict[str, tuple[Spoil, str]] = {
    "bad_header": ({"header": {"alg": 7}}, "header"),
    "wrong_type": ({"header": {"typ": "id+jwt"}}, "header"),
    "bad_signature": ({"key": True}, "signature"),
    "wrong_issuer": ({"claims": {"iss": "https://other.example/"}}, "claims"),
    "expired": ({"claims": {"exp": 1}}, "claims"),
}


@pytest.fixture
def verifier(idp: LoopbackIssuer, make: MakeVerifier) -> Verifier:
    verifier = make(issuer_of(idp), policy=SLOW)
    verifier.verify(idp.token())
    return verifier


def spoilt(idp: LoopbackIssuer, *names: str, claims: Mapping[str, Any] | None = None) -> str:
    header: dict[str, Any] = {}
    claims = dict(claims or {})
    key = None
    for name in names:
        spoil = DEFECTS[name][0]
        header |= spoil.get("header", {})
        claims |= spoil.get("claims", {})
        if "key" in spoil:
            key = SigningKey.generate(kid=idp.kids[0])
    return idp.token(key=key, header=header, claims=claims)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_refused_token_gets_to_its_defect_and_no_further(
    idp: LoopbackIssuer, verifier: Verifier, name: str
) -> None:
    token = spoilt(idp, name)
    assert refusal(verifier, token) == name
    stages = stages_of(verifier, token)
    last = DEFECTS[name][1]
    assert stages[-1] == last
    assert [stage for stage in stages if ORDER.index(stage) > ORDER.index(last)] == []
    assert stages == sorted(stages, key=ORDER.index)


@pytest.mark.parametrize("pair", list(itertools.combinations(DEFECTS, 2)), ids="+".join)
def test_of_several_defects_the_cheapest_to_find_decides(
    idp: LoopbackIssuer, verifier: Verifier, pair: tuple[str, str]
) -> None:
    assert refusal(verifier, spoilt(idp, *pair)) == pair[0]


@pytest.mark.parametrize(
    "make_token",
    [
        lambda token: "a" * 20_000,
        lambda token: "." * 16_384,
        lambda token: token.rpartition(".")[0],
        lambda token: token + "=",
        lambda token: token.replace(".", ".e30.", 1),
        lambda token: token.encode() + b"\xff",
        lambda token: None,
    ],
)
def test_what_is_no_token_is_not_read_at_all(
    idp: LoopbackIssuer, verifier: Verifier, make_token: Callable[[str], Any]
) -> None:
    assert stages_of(verifier, make_token(idp.token())) == ["framing"]


def test_an_unknown_kid_costs_no_claims_and_no_signature_while_the_gate_is_closed(
    idp: LoopbackIssuer, verifier: Verifier
) -> None:
    assert refusal(verifier, idp.stranger_token()) == "unknown_kid"
    token = idp.stranger_token()
    assert stages_of(verifier, token) == ["framing", "header"]  # the framing is that it is a str


TEMPLATE = "https://login.example.com/{tid}/"


@pytest.mark.parametrize("name", ["bad_header", "wrong_type", "bad_signature"])
@pytest.mark.parametrize("also", ["https://other.example/", TEMPLATE])
def test_no_payload_is_read_before_its_signature_where_there_are_several_issuers(
    idp: LoopbackIssuer, make: MakeVerifier, also: str, name: str
) -> None:
    verifier = make([issuer_of(idp), issuer_of(idp, issuer=also, tenant_claim="tid")], policy=SLOW)
    verifier.warm()
    for iss in (idp.issuer, also.replace("{tid}", "acme")):
        claims = {"iss": iss, "tid": "acme"}
        assert verifier.verify(idp.token(claims=claims)).issuer == iss
        token = spoilt(idp, name, claims=claims)
        assert refusal(verifier, token) == name
        assert "JSON" not in stages_of(verifier, token)


def too_long(token: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{'A' * 20_000}.{signature}"


@pytest.mark.parametrize("also", [(), ("https://third.example/",)])
@pytest.mark.parametrize(
    ("iss", "code"),
    [
        ("https://other.example/", "wrong_issuer"),
        (None, "wrong_issuer"),
        (["https://other.example/", "https://another.example/"], "bad_claims"),
    ],
)
def test_a_payload_that_is_not_read_is_refused_for_the_issuer_that_it_names(
    idp: LoopbackIssuer, make: MakeVerifier, also: tuple[str, ...], iss: Any, code: str
) -> None:
    verifier = make([issuer_of(idp), *[issuer_of(idp, issuer=name) for name in also]], policy=SLOW)
    names = [{"iss": name} for name in iss] if isinstance(iss, list) else [{"iss": iss}]
    long = [name | {"also": "\\" * 2000} for name in names]
    payload = long[0] if len(long) == 1 else long[0] | {"nested": long[1]}
    for token in (idp.token(**payload), idp.stranger_token(**payload)):
        assert refusal(verifier, token) == code
    assert idp.fetches == 0


def test_what_is_too_long_is_not_read_while_the_gate_is_closed(
    idp: LoopbackIssuer, verifier: Verifier
) -> None:
    assert refusal(verifier, idp.stranger_token()) == "unknown_kid"
    token = too_long(idp.stranger_token())
    assert refusal(verifier, token) == "too_large"
    assert stages_of(verifier, token) == ["framing"]


def test_a_token_of_nobody_costs_no_more_where_there_are_many_issuers(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    many = [issuer_of(idp, issuer=f"https://tenant-{number}.example/") for number in range(300)]
    verifier = make([*many, issuer_of(idp)], policy=SLOW)
    hints: list[str | None] = []
    for iss in ("https://nobody.example/", "https://tenant-299.example", ["x"], None):
        calls = 0

        def profile(frame: Any, event: str, _: Any) -> None:
            nonlocal calls
            # Ours alone: logging and the garbage collector call what they like.
            calls += event == "call" and "/skeldir_jwt_mw/" in frame.f_code.co_filename

        token = idp.token(iss=iss)
        sys.setprofile(profile)
        try:
            with pytest.raises(InvalidToken) as caught:
                verifier.verify(token)
        finally:
            sys.setprofile(None)
        assert caught.value.code == "wrong_issuer"
        hints.append(caught.value.hint)
        assert 0 < calls < 40
    assert hints == [None, "iss differs by a trailing slash", *["the token has no iss that is a string"] * 2]
