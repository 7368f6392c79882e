"""Each check of a token by itself: all faults at once, each the one that a verifier would name."""

from __future__ import annotations

import time
from typing import Any

import pytest

from skeldir_jwt_mw import InvalidToken, Issuer
from skeldir_jwt_mw.core.claims import compile_claims
from skeldir_jwt_mw.explanation import checks
from skeldir_jwt_mw.pasted import contents_of
from skeldir_jwt_mw.report import printed
from skeldir_jwt_mw.testing import SigningKey, mint
from skeldir_jwt_mw.testing.tokens import b64url

URL, NOW = "https://login.example.com/", 1_800_000_000.0
KEY = SigningKey.generate()
PLAIN = Issuer(URL, audience="orders-api")
STRICT = Issuer.rfc9068(
    URL, audience=("orders-api", "orders-admin"), claims={"/realm/name": "shop", "env": ("live", "test")},
    scope_claims=("scope", "/realm/scopes"), tenant_claim="org",
)  # fmt: skip
ENTRA = Issuer(
    "https://login.example.com/{tid}/v2.0", audience="a", jwks_url=f"{URL}keys", tenant_claim="tid"
)
GOOD: dict[Issuer, dict[str, Any]] = {
    PLAIN: {"iss": URL, "aud": "orders-api", "exp": NOW + 60},
    STRICT: {
        "iss": URL, "aud": ["x", "orders-admin"], "exp": NOW + 60, "iat": NOW, "sub": "ada", "jti": "1",
        "client_id": "web", "realm": {"name": "shop", "scopes": "a b"}, "env": ["live"], "org": "acme",
    },
    ENTRA: {"iss": "https://login.example.com/t-1/v2.0", "tid": "t-1", "aud": "a", "exp": NOW + 60},
}  # fmt: skip
ISSUERS = list(GOOD)


def verdicts(issuer: Issuer, claims: dict[str, Any], **header: Any) -> dict[str, str]:
    raw = mint(KEY, claims)
    found = checks(issuer, raw, {"header": {"alg": "ES256", **header}, "claims": claims}, NOW)
    return {name: row["verdict"] for name, row in found.items()}


@pytest.mark.parametrize("issuer", ISSUERS)
def test_a_good_token_passes_every_check(issuer: Issuer) -> None:
    compile_claims(issuer)(GOOD[issuer], NOW)
    assert set(verdicts(issuer, GOOD[issuer]).values()) == {"ok"}


def test_the_header_has_a_check_of_its_own() -> None:
    claims = GOOD[STRICT]
    for header, code in (
        ({"alg": "ES256", "typ": "JWT"}, "wrong_type"),
        ({"alg": "ES256", "typ": "at+jwt", "crit": ["x"]}, "unsupported_header"),
    ):
        found = checks(STRICT, mint(KEY, claims, header=header), {"header": header, "claims": claims}, NOW)
        assert found["header"]["verdict"] == code
    assert checks(PLAIN, "e30.e30.", {"header": {}}, NOW)["header"]["verdict"] == "bad_header"
    assert checks(PLAIN, "\udc80.x.", {"header": {}}, NOW)["header"]["verdict"] == "malformed"


@pytest.mark.parametrize(("ignored", "code"), [(("x5c",), "ok"), ((), "too_large")])
def test_a_header_is_as_long_as_the_issuer_lets_it_be(ignored: tuple[str, ...], code: str) -> None:
    issuer = Issuer(URL, audience="orders-api", ignored_headers=ignored)
    header = {"alg": "ES256", "x5c": ["A" * 3000]}
    raw = mint(KEY, GOOD[PLAIN], header=header)
    assert checks(issuer, raw, {"header": header}, NOW)["header"]["verdict"] == code


def test_members_that_stand_several_times_are_all_shown_and_soon() -> None:
    def shown(claims: str) -> dict[str, Any]:
        found = contents_of(f"e30.{b64url(claims.encode())}.")["claims"]
        assert isinstance(found, dict)
        return found

    several = shown('{"a":1,"a (again)":2,"a":3,"a":4,"a (again, 2)":5}')
    assert list(several.values()) == [1, 2, 3, 4, 5]
    assert list(several)[:2] == ["a", "a (again)"]
    began = time.thread_time()
    assert len(shown('{"a":1' + ',"a":1' * 8000 + "}")) == 8001
    assert time.thread_time() - began < 1.0


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_what_nests_without_end_is_not_shown(opening: str, closing: str) -> None:
    for depth, name in ((99, {"claims"}), (100, set()), (600, set()), (9000, set())):
        claims = '{"a":' + opening * depth + "1" + closing * depth + "}"
        found = contents_of(f".{b64url(claims.encode())}.")
        assert set(found) == name
        for as_json in (False, True):
            assert printed(found, as_json=as_json)[:1] == ("{" if as_json else "c" if name else "")


SPOILT: list[tuple[Issuer, str, Any, str]] = [
    (PLAIN, "iss", "https://login.example.com", "wrong_issuer"),
    (PLAIN, "iss", None, "wrong_issuer"),
    (PLAIN, "aud", "billing", "wrong_audience"),
    (PLAIN, "aud", 7, "bad_claims"),
    (PLAIN, "exp", NOW - 40, "expired"),
    (PLAIN, "exp", None, "missing_claim"),
    (PLAIN, "nbf", NOW + 40, "not_yet_valid"),
    (PLAIN, "iat", NOW + 40, "issued_in_future"),
    (PLAIN, "cnf", {}, "sender_constrained"),
    (PLAIN, "sub", 7, "bad_claims"),
    (PLAIN, "scope", 7, "bad_scope"),
    (STRICT, "client_id", None, "missing_claim"),
    (STRICT, "realm", {"name": "other"}, "claim_mismatch"),
    (STRICT, "realm", {"name": "shop", "scopes": 7}, "bad_scope"),
    (STRICT, "env", "dev", "claim_mismatch"),
    (STRICT, "org", "", "bad_tenant"),
    (ENTRA, "iss", "https://login.example.com/t-2/v2.0", "wrong_issuer"),
]


def spoilt(claims: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    changed = {**claims, name: value}
    return {one: kept for one, kept in changed.items() if kept is not None}


@pytest.mark.parametrize(("issuer", "name", "value", "code"), SPOILT)
def test_a_fault_is_the_one_that_the_verifier_names_and_of_its_claim_alone(
    issuer: Issuer, name: str, value: Any, code: str
) -> None:
    claims = spoilt(GOOD[issuer], name, value)
    with pytest.raises(InvalidToken) as refused:
        compile_claims(issuer)(claims, NOW)
    found = verdicts(issuer, claims)
    assert found[name] == refused.value.code == code
    others = {"header", name, *(("tid",) if issuer is ENTRA else ())}
    assert {verdict for one, verdict in found.items() if one not in others} == {"ok"}


@pytest.mark.parametrize("issuer", [PLAIN, STRICT])
def test_all_faults_are_told_at_once(issuer: Issuer) -> None:
    claims, codes = dict(GOOD[issuer]), {}
    for of, name, value, code in SPOILT:
        if of is issuer:
            claims, codes[name] = spoilt(claims, name, value), code
    found = verdicts(issuer, claims)
    assert {name: found[name] for name in codes} == codes


def test_the_token_s_value_stands_beside_the_one_that_is_wanted() -> None:
    claims = {"iss": URL, "aud": "billing", "exp": NOW - 7200, "iat": NOW - 90_000 * 3}
    found = checks(PLAIN, mint(KEY, claims), {"header": {"alg": "ES256"}, "claims": claims}, NOW)
    assert found["aud"] == {"token": "billing", "wanted": ["orders-api"], "verdict": "wrong_audience"}
    assert found["exp"]["token"] == "1799992800 (2027-01-15 06:00:00 UTC, 2 hours ago)"
    assert found["iat"]["token"].endswith(", 3 days ago)")
    assert found["header"]["wanted"]["alg"] == list(PLAIN.algorithms)


@pytest.mark.parametrize("exp", [True, "soon", -1, 1e300, 2**70, float("1e17"), None])
def test_odd_times_are_shown_as_they_are(exp: Any) -> None:
    claims = {"iss": URL, "exp": exp}
    assert checks(PLAIN, "x", {"claims": claims}, NOW)["exp"]["token"] == exp
