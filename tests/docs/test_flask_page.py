"""What docs/flask.md shows works: its factory, its settings, its test."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from pages import blocks, tables, text_of

from skeldir_jwt_mw import Issuer, Verifier
from skeldir_jwt_mw import flask as adapter
from skeldir_jwt_mw.flask import JWT
from skeldir_jwt_mw.settings import parse_settings
from skeldir_jwt_mw.sources import StaticSource
from skeldir_jwt_mw.testing import SigningKey, mint

PAGE = text_of("docs/flask.md")
FACTORY, SETTINGS, CORS, TEST = blocks(PAGE, "python")
ISSUER = "https://login.example.com/"
KEY = SigningKey.generate()


def defined_by(*parts: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    names = {"__name__": "orders", **(names or {})}
    for part in parts:
        exec(compile(part, "docs/flask.md", "exec"), names)
    return names


def test_the_factory_guards_an_app() -> None:
    app = defined_by(FACTORY)["create_app"]()
    verifier: Verifier = app.extensions["skeldir_jwt"].verifier
    verifier.set_issuers([Issuer(ISSUER, audience="orders-api", source=StaticSource({"keys": [KEY.jwk()]}))])
    claims = {"iss": ISSUER, "aud": "orders-api", "sub": "ada", "exp": 2**33, "scope": "orders:read"}

    def ask(path: str, token: str | None = None) -> tuple[int, Any]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with app.test_client().get(path, headers=headers) as response:
            return response.status_code, response.get_json(silent=True)

    token = mint(KEY, claims)
    assert ask("/me", token) == (200, {"subject": "ada"})
    assert ask("/orders", token) == (200, {"orders": [], "tenant": None})
    assert ask("/orders", mint(KEY, {**claims, "scope": "orders:write"}))[0] == 403
    assert ask("/health", "rubbish") == (200, {"ok": True})
    assert ask("/static/none.css")[0] == 404
    for path in ("/me", "/orders", "/unknown"):
        assert ask(path)[0] == 401


def test_the_settings_of_a_fleet_make_a_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app@db/app")
    monkeypatch.setenv("SKELDIR_JWT_SEAL_KEYS", b64encode(bytes(range(32))).decode())
    settings = parse_settings(defined_by(SETTINGS)["SKELDIR_JWT"])
    assert settings.database_url == "postgresql://app@db/app"
    assert settings.seal_keys == (bytes(range(32)),)
    settings.verifier().close()


def test_a_browser_gets_through_with_cors_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app@db/app")
    monkeypatch.setenv("SKELDIR_JWT_SEAL_KEYS", b64encode(bytes(range(32))).decode())
    app = defined_by(FACTORY, SETTINGS, CORS)["app"]
    origin = {"Origin": "https://app.example.com"}
    preflight = {**origin, "Access-Control-Request-Method": "GET"}
    with app.test_client().options("/me", headers=preflight) as response:
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    with app.test_client().get("/me", headers=origin) as response:
        assert response.status_code == 401
        assert response.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    app.extensions["skeldir_jwt"].verifier.close()


def test_the_test_passes_and_can_fail() -> None:
    names = defined_by(FACTORY, TEST)
    names["test_orders_need_a_scope"]()
    unguarded = FACTORY.replace('    @jwt_required(scopes=["orders:read"])\n', "")
    with pytest.raises(AssertionError):
        defined_by(unguarded, TEST)["test_orders_need_a_scope"]()


def test_the_table_tells_every_public_name() -> None:
    [rows] = tables(PAGE)
    told = " ".join(row["name"] for row in rows)
    assert [name for name in adapter.__all__ if name not in told] == []
    options = [name for name in JWT.__init__.__annotations__ if name != "return"]
    assert [name for name in options if name not in rows[0]["name"]] == []
