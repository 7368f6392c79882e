"""docs/migrating.md: what it says to write instead works; what is written today is at least Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import flask
import pytest
from authlib.integrations.flask_oauth2 import current_token  # type: ignore[import-untyped]
from client import TestClient
from pages import blocks, code_in, section, tables, text_of

from skeldir_jwt_mw import InvalidToken, Issuer, JWTError, KeysUnavailable, VerifiedToken, Verifier
from skeldir_jwt_mw.sources import CallableSource, FetchFailed, Source, StaticSource
from skeldir_jwt_mw.testing import SigningKey, mint

PAGE = text_of("docs/migrating.md")
PYJWT, JOSE, AUTHLIB, FASTAPI, SIMPLEJWT, OWN = (
    blocks(section(PAGE, title), "python")
    for title in (
        "From PyJWT and PyJWKClient",
        "From python-jose",
        "From Authlib",
        "From OAuth2PasswordBearer and PyJWT in FastAPI",
        "From djangorestframework-simplejwt",
        "Tokens of your own",
    )
)
BEFORE = (PYJWT[0], JOSE[0], AUTHLIB[0], AUTHLIB[1], FASTAPI[0], SIMPLEJWT[0])
ISSUER = "https://login.example.com/"
KEY, EC_KEY = SigningKey.generate("RS256", kid="rsa"), SigningKey.generate("ES256", kid="ec")
KEYS = {"keys": [KEY.jwk(), EC_KEY.jwk()]}
HEADER = {"alg": "RS256", "typ": "JWT", "kid": "rsa"}
CLAIMS = {"iss": ISSUER, "aud": "orders-api", "sub": "ada", "exp": 2**33, "scope": "orders:read"}


def token(*missing: str, header: Mapping[str, Any] = HEADER, key: SigningKey = KEY, **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if name not in missing}
    return mint(key, claims, header)


def run(code: str, **scene: Any) -> dict[str, Any]:
    # As a module of its own: FastAPI reads annotations, which this file's __future__ would make strings.
    exec(compile(code, "docs/migrating.md", "exec", dont_inherit=True), scene)
    return scene


def keys_at_hand(verifier: Verifier, source: Source | None = None) -> tuple[Issuer, ...]:
    """Give the verifier's issuers keys that need no network; returns them as the page made them."""
    found = tuple(served.issuer for served in verifier._roster.served)
    for issuer in found:
        options = {member.name: getattr(issuer, member.name) for member in fields(Issuer)}
        options |= {"jwks_url": None, "source": source or StaticSource(KEYS)}
        verifier.set_issuers([Issuer(**options)])
    return found


def test_every_block_is_a_before_or_is_run_by_a_test() -> None:
    assert blocks(PAGE, "python") == [*PYJWT, *JOSE, *AUTHLIB, *FASTAPI, *SIMPLEJWT, *OWN]
    after = (PYJWT[1], JOSE[1], AUTHLIB[2], FASTAPI[1], SIMPLEJWT[1], OWN[0])
    assert sorted(blocks(PAGE, "python")) == sorted((*BEFORE, *after))


@pytest.mark.parametrize("code", BEFORE)
def test_what_is_written_today_is_python(code: str) -> None:
    compile(code, "docs/migrating.md", "exec")
    assert "skeldir_jwt_mw" not in code


# -- PyJWT, python-jose ------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [PYJWT[1], JOSE[1]])
def test_claims_of_returns_the_claims(after: str) -> None:
    scene = run(after)
    (issuer,) = keys_at_hand(scene["verifier"])
    assert (issuer.issuer, issuer.audience) == (ISSUER, ("orders-api",))
    assert dict(scene["claims_of"](token())) == CLAIMS
    for missing in ("aud", "exp"):
        with pytest.raises(InvalidToken):
            scene["claims_of"](token(missing))


def test_pyjwts_options_have_become_the_issuers() -> None:
    (issuer,) = keys_at_hand(run(PYJWT[1])["verifier"])
    assert issuer.jwks_url == "https://login.example.com/.well-known/jwks.json"
    assert issuer.algorithms == ("RS256", "ES256")
    assert issuer.leeway == 10
    assert issuer.required_claims == ("sub",)


STRANGER = SigningKey.generate("RS256", kid="rsa")

# By the code that the page names, tokens of which PyJWT would raise what the page names.
RAISED: Mapping[str, Callable[[], list[str]]] = {
    "expired": lambda: [token(exp=1)],
    "not_yet_valid": lambda: [token(nbf=2**32)],
    "issued_in_future": lambda: [token(iat=2**32)],
    "wrong_audience": lambda: [token(aud="another"), token("aud")],
    "wrong_issuer": lambda: [token(iss="another"), token("iss")],
    "missing_claim": lambda: [token("sub"), token("exp")],
    "algorithm_not_allowed": lambda: [token(header={**HEADER, "alg": "HS256"})],
    "bad_signature": lambda: [token(key=STRANGER)],
    "malformed": lambda: ["rubbish", "a.b"],
    "unknown_kid": lambda: [token(header={**HEADER, "kid": "nobody"})],
}
ERRORS = tables(section(PAGE, "From PyJWT and PyJWKClient"))[0]


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: code_in(row["code"])[0])
def test_each_error_of_pyjwt_has_the_counterpart_that_the_table_names(row: dict[str, str]) -> None:
    scene = run(PYJWT[1])
    (code,), (kind,) = code_in(row["code"]), code_in(row["here"])
    if kind == "KeysUnavailable":
        keys_at_hand(scene["verifier"], CallableSource(no_keys))
    else:
        keys_at_hand(scene["verifier"])
    for raw in RAISED[code]() if code in RAISED else [token()]:
        with pytest.raises(JWTError) as caught:
            scene["claims_of"](raw)
        assert (type(caught.value).__name__, caught.value.code) == (kind, code)


def no_keys() -> bytes:
    raise FetchFailed("the provider is away")


def test_every_code_that_is_provoked_is_in_the_table() -> None:
    assert {*RAISED, KeysUnavailable.code} == {code_in(row["code"])[0] for row in ERRORS}


@pytest.mark.parametrize(
    "raw",
    [
        token(header={**HEADER, "typ": "dpop+jwt"}),
        token(header={**HEADER, "typ": "logout+jwt"}),
        token(cnf={"jkt": "x"}),
        token(header={**HEADER, "jwk": KEY.jwk()}),
        token(header={**HEADER, "x5c": ["x"]}),
    ],
)
def test_what_pyjwt_accepts_and_this_refuses(raw: str) -> None:
    scene = run(PYJWT[1])
    keys_at_hand(scene["verifier"])
    with pytest.raises(InvalidToken):
        scene["claims_of"](raw)


# -- Authlib, FastAPI --------------------------------------------------------------------------------------


def test_authlibs_protector_stays_and_its_validator_changes() -> None:
    scene = run(AUTHLIB[2])
    keys_at_hand(scene["verifier"])
    app = flask.Flask(__name__)

    @app.get("/orders")
    @scene["require_oauth"]("orders:read")  # type: ignore[untyped-decorator]
    def orders() -> str:
        assert isinstance(current_token._get_current_object(), VerifiedToken)
        return str(current_token.subject)

    standard = {"client_id": "web", "iat": 1, "jti": "1", "header": {**HEADER, "typ": "at+jwt"}}

    def ask(raw: str) -> tuple[int, str]:
        with app.test_client().get("/orders", headers={"Authorization": f"Bearer {raw}"}) as answer:
            return answer.status_code, answer.text

    assert ask(token(**standard)) == (200, "ada")
    assert ask(token(**{**standard, "scope": "orders:write"}))[0] == 403
    assert ask(token())[0] == 401  # no token of that profile


def test_the_fastapi_app_answers_as_before() -> None:
    scene = run(FASTAPI[1])
    keys_at_hand(scene["verifier"])

    def ask(raw: str | None) -> tuple[int, Any]:
        answer = client.get("/orders", headers={} if raw is None else {"Authorization": f"Bearer {raw}"})
        return answer.status_code, answer.json()

    with TestClient(scene["app"]) as client:
        assert ask(token()) == (200, {"orders of": "ada"})
        assert ask(token(scope=""))[0] == 403
        assert [ask(raw)[0] for raw in (None, "rubbish", token(aud="another"))] == [401] * 3
        operation = client.get("/openapi.json").json()["paths"]["/orders"]["get"]
        assert operation["security"] == [{"JWTBearer": ["orders:read"]}]
        scene["app"].dependency_overrides[scene["current_user"]] = lambda: "grace"
        assert ask(None) == (200, {"orders of": "grace"})


# -- simplejwt, tokens of your own -------------------------------------------------------------------------


def test_the_django_settings_are_the_ones_that_simplejwt_had() -> None:
    before = run(SIMPLEJWT[0])["SIMPLE_JWT"]
    after = run(SIMPLEJWT[1])["SKELDIR_JWT"]
    pairs = {"JWK_URL": "JWKS_URL", "AUDIENCE": "AUDIENCE", "ISSUER": "ISSUER", "LEEWAY": "LEEWAY"}
    assert {old: after[new] for old, new in pairs.items()} == {old: before[old] for old in pairs}
    assert after["ALGORITHMS"] == [before["ALGORITHM"]]
    json.dumps(after)  # good for SKELDIR_JWT_CONFIG as well


def test_tokens_of_ones_own_are_verified_under_both_keys_of_a_rotation() -> None:
    new, old = (SigningKey.generate("ES256", kid=kid) for kid in ("2026-01", "2025-07"))
    scene = run(OWN[0], public_key=new.public_pem(), previous_public_key=old.public_pem())
    for key in (new, old):
        header = {"alg": "ES256", "typ": "JWT", "kid": key.kid}
        raw = token(key=key, header=header, iss="https://orders.example.com")
        assert scene["verifier"].verify(raw).subject == "ada"
    with pytest.raises(InvalidToken):
        scene["verifier"].verify(token(key=new, header=HEADER, iss="https://orders.example.com"))
