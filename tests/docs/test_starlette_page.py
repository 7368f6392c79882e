"""docs/starlette.md is true: its examples make apps, which answer as the page says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from client import TestClient
from pages import blocks, code_in, tables, text_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

from skeldir_jwt_mw import Issuer, current_token
from skeldir_jwt_mw.asgi import JWTMiddleware
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing import SigningKey, mint

PAGE = text_of("docs/starlette.md")
ISSUER, AUDIENCE = "https://login.example.com/", "orders-api"
KEY = SigningKey.generate()


def token(scopes: str = "") -> dict[str, str]:
    """The header of a request by Ada."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": 2**33, "scope": scopes, "tid": "acme"}
    return {"Authorization": f"Bearer {mint(KEY, claims)}"}


@pytest.fixture
def scene() -> dict[str, Any]:
    """All examples of the page; their issuer's keys need no network."""
    scene: dict[str, Any] = {}
    for code in blocks(PAGE, "python"):
        exec(compile(code, "docs/starlette.md", "exec", dont_inherit=True), scene)
    keys = StaticSource({"keys": [KEY.jwk()]})
    scene["verifier"].set_issuers([Issuer(ISSUER, audience=AUDIENCE, source=keys, tenant_claim="tid")])
    return scene


@pytest.fixture
def client(scene: dict[str, Any]) -> Iterator[TestClient]:
    with TestClient(scene["app"]) as client:
        yield client


def test_the_app_starts_and_serves(client: TestClient) -> None:
    assert client.get("/ready").json() == {"ready": True}
    assert client.get("/orders", headers=token("orders:read")).json() == {"orders of": "ada"}
    assert client.get("/orders", headers=token()).status_code == 403
    both = token("account:read account:write")
    assert client.put("/account", headers=both).json() == {"tenant": "acme"}
    assert client.put("/account", headers=token("account:read")).status_code == 403
    with client.websocket_connect("/updates", headers=token("orders:read")) as connection:
        assert connection.receive_json() == {"updates for": "ada"}
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/updates", headers=token()):
        pass


def test_a_refusal_has_its_cors_headers(client: TestClient) -> None:
    refused = client.get("/orders", headers={"Origin": "https://app.example.com"})
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert refused.headers["Access-Control-Expose-Headers"] == "WWW-Authenticate"


def test_the_mounted_app_answers_as_the_comment_says(scene: dict[str, Any]) -> None:
    client = TestClient(scene["site"])
    assert client.get("/reports/ready").status_code == 200
    assert client.get("/reports/daily").status_code == 401
    assert client.get("/reports/daily", headers=token("orders:read")).status_code == 200


@pytest.mark.parametrize("anonymous", [False, True])
def test_a_request_holds_what_the_table_says(scene: dict[str, Any], anonymous: bool) -> None:
    (rows,) = tables(PAGE)
    seen: dict[str, Any] = {}

    async def look(request: Request) -> JSONResponse:
        for row in rows:
            for expression in code_in(row[""]):
                seen[expression] = eval(expression, {"request": request, "current_token": current_token})
        return JSONResponse(None)

    app = Starlette(routes=[Route("/", look)])
    app.add_middleware(JWTMiddleware, verifier=scene["verifier"], required=False)
    TestClient(app).get("/", headers={} if anonymous else token("orders:read"))
    held = None if anonymous else scene["verifier"].verify(token("orders:read")["Authorization"][7:])
    meant = {
        "the `VerifiedToken`": held,
        "None": None,
        "True": True,
        "False": False,
        "the subject": "ada",
        "empty": "",
        "the token's scopes": ["orders:read"],
        "none": [],
    }
    for row in rows:
        said = row["anonymous or exempt" if anonymous else "with a token"]
        assert {expression: seen[expression] for expression in code_in(row[""])} == dict.fromkeys(
            code_in(row[""]), meant[said]
        )
