"""docs/fastapi.md is true: its examples make one app, which answers as the page says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from client import TestClient, WebSocketDenialResponse
from pages import blocks, code_in, section, tables, text_of

from skeldir_jwt_mw import Issuer, Verifier
from skeldir_jwt_mw.fastapi import JWTBearer, first_of, from_cookie, from_header, jwt_shaped
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing import SigningKey, mint

PAGE = text_of("docs/fastapi.md")
SECTIONS = ("Options", "Scopes of routers and of other dependencies", "WebSockets", "Answers")
ISSUER, AUDIENCE = "https://login.example.com/", "orders-api"
KEY = SigningKey.generate()


def token(scopes: str = "") -> dict[str, str]:
    """The header of a request by Ada."""
    raw = mint(KEY, {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": 2**33, "scope": scopes})
    return {"Authorization": f"Bearer {raw}"}


def run(text: str, scene: dict[str, Any]) -> None:
    for code in blocks(text, "python"):
        # As a module of its own: FastAPI reads annotations, which this file's __future__ would make strings.
        exec(compile(code, "docs/fastapi.md", "exec", dont_inherit=True), scene)


@pytest.fixture
def scene() -> dict[str, Any]:
    """The app of the page's beginning; its issuer's keys need no network."""
    scene: dict[str, Any] = {}
    run(PAGE.partition("\n## ")[0], scene)
    scene["verifier"].set_issuers(
        [Issuer(ISSUER, audience=AUDIENCE, source=StaticSource({"keys": [KEY.jwk()]}))]
    )
    return scene


@pytest.fixture
def client(scene: dict[str, Any]) -> Iterator[TestClient]:
    """A client of the app with everything but the middleware and the override."""
    for title in SECTIONS:
        run(section(PAGE, title), scene)
    with TestClient(scene["app"]) as client:
        yield client


def test_the_app_starts_and_serves(client: TestClient) -> None:
    assert client.get("/ready").status_code == 200
    assert client.get("/orders", headers=token("orders:read")).json() == {"orders of": "ada"}
    assert client.get("/orders").headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert client.get("/prices").json() == {"prices for": "everybody"}
    assert client.get("/prices", headers=token()).json() == {"prices for": "ada"}
    assert client.get("/prices", headers={"Authorization": "Bearer bad"}).status_code == 401


ROUTES = {code_in(row["route"])[0]: code_in(row["scopes"]) for row in tables(PAGE)[0]}


def test_each_route_needs_the_scopes_of_the_table(client: TestClient) -> None:
    description = client.get("/openapi.json").json()["paths"]
    assert {
        path: sorted(item["get"]["security"][0]["JWTBearer"])
        for path, item in description.items()
        if "security" in item["get"]
    } == ROUTES
    for path, scopes in ROUTES.items():
        assert client.get(path, headers=token(" ".join(scopes))).status_code == 200
        for missing in scopes:
            held = " ".join(set(scopes) - {missing})
            assert client.get(path, headers=token(held)).status_code == 403


def test_the_websocket_serves_and_denies(client: TestClient) -> None:
    with client.websocket_connect("/updates", headers=token("orders:read")) as connection:
        assert connection.receive_json() == {"updates for": "ada"}
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/updates"):
        pass
    assert denied.value.status_code == 401


def test_the_handler_of_the_page_writes_the_answer(client: TestClient) -> None:
    refused = client.get("/orders", headers={"Authorization": "Bearer bad"})
    assert refused.json() == {"title": "invalid_token", "status": 401}
    assert refused.headers["WWW-Authenticate"].startswith('Bearer realm="api", error="invalid_token"')
    assert client.get("/nowhere").json() == {"title": "Not Found", "status": 404}


def test_without_a_handler_the_answer_is_the_one_shown(scene: dict[str, Any]) -> None:
    (shown,) = blocks(section(PAGE, "Answers"), "json")
    refused = TestClient(scene["app"]).get("/orders", headers={"Authorization": "Bearer bad"})
    assert refused.json() == json.loads(shown)


def test_the_middleware_guards_the_rest(scene: dict[str, Any]) -> None:
    run(section(PAGE, "Options") + section(PAGE, "Behind the middleware"), scene)
    client = TestClient(scene["app"])
    refused = client.get("/nowhere", headers={"Origin": "https://app.example.com"})
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert refused.headers["Access-Control-Expose-Headers"] == "WWW-Authenticate"
    assert client.get("/nowhere", headers=token()).status_code == 404
    assert client.get("/orders", headers=token("orders:read")).status_code == 200
    assert client.get("/orders", headers=token()).status_code == 403
    assert {client.get(path).status_code for path in ("/ready", "/prices", "/docs", "/openapi.json")} == {200}


def test_an_override_stands_for_the_dependency(scene: dict[str, Any]) -> None:
    run(section(PAGE, "Tests"), scene)
    client = TestClient(scene["app"])
    assert client.get("/orders").json() == {"orders of": "ada"}
    scene["app"].dependency_overrides.clear()
    scene["verifier"].set_issuers([scene["ours"]])
    raw = mint(scene["key"], {**scene["claims"], "scope": "orders:read"})
    assert client.get("/orders", headers={"Authorization": f"Bearer {raw}"}).status_code == 200
    assert client.get("/orders", headers=token("orders:read")).status_code == 401


JWKS_URL = "https://login.example.com/keys"
DISCOVERED = Issuer(ISSUER, audience=AUDIENCE)
OTHER = Issuer("https://login.example.org/", audience=AUDIENCE)
SCHEMES: dict[str, list[JWTBearer]] = {
    "one issuer, found by discovery": [JWTBearer(Verifier([DISCOVERED]))],
    "several issuers, a template, a `jwks_url`, a `source` of another kind": [
        JWTBearer(Verifier(issuers))
        for issuers in (
            [DISCOVERED, OTHER],
            [Issuer(ISSUER + "{tid}", audience=AUDIENCE, jwks_url=JWKS_URL, tenant_claim="tid")],
            [Issuer(ISSUER, audience=AUDIENCE, jwks_url=JWKS_URL)],
            [Issuer(ISSUER, audience=AUDIENCE, source=StaticSource({"keys": [KEY.jwk()]}))],
        )
    ],
    "`from_header(name)`, `from_cookie(name)`": [
        JWTBearer(Verifier([DISCOVERED]), token_getter=getter)
        for getter in (from_header("X-Token"), from_cookie("__session"))
    ],
    '`from_header("Authorization", scheme="Bearer")`, also in `jwt_shaped`': [
        JWTBearer(Verifier([DISCOVERED]), token_getter=getter)
        for getter in (
            from_header("Authorization", scheme="Bearer"),
            jwt_shaped(from_header("authorization", scheme="bearer")),
        )
    ],
    "`jwt_shaped(from_cookie(name))`, `first_of(from_cookie(name), …)`": [
        JWTBearer(Verifier([DISCOVERED]), token_getter=getter)
        for getter in (
            jwt_shaped(from_cookie("__session")),
            first_of(from_cookie("__session"), from_header("X-Token")),
        )
    ],
    "a getter of your own": [JWTBearer(Verifier([DISCOVERED]), token_getter=lambda headers: None)],
}
TOLD = {
    row["the verifier and the `token_getter`"]: row["scheme"] for row in tables(section(PAGE, "OpenAPI"))[0]
}


def test_every_row_of_the_schemes_is_made() -> None:
    assert set(TOLD) == set(SCHEMES)


@pytest.mark.parametrize("row", SCHEMES)
def test_the_scheme_is_the_one_in_the_table(row: str) -> None:
    kind, *more = code_in(TOLD[row])
    for bearer in SCHEMES[row]:
        scheme = bearer.model.model_dump(by_alias=True, exclude_none=True, mode="json")
        assert scheme["type"] == kind
        values = " ".join(map(str, scheme.values()))
        assert [word for word in more if word not in values] == []


def test_the_page_names_the_lowest_fastapi_that_is_allowed() -> None:
    lowest = next(line.strip() for line in text_of("setup.cfg").splitlines() if "fastapi>=" in line)
    assert f"FastAPI {lowest.partition('>=')[2]} or later" in PAGE


def test_the_example_with_options_that_belong_to_the_middleware_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        JWTBearer(Verifier([DISCOVERED]), exempt=("/",))  # type: ignore[call-arg]
