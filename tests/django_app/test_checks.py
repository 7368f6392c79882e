"""The system checks, by their ids."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from callers import OURS, SESSIONS, new_verifier
from django.core.checks import run_checks
from django.test import override_settings

from skeldir_jwt_mw import MemoryStore, PostgresStore, Verifier

ISSUER = {"ISSUER": "https://login.example.com/", "AUDIENCE": "orders-api"}
AUTHENTICATION = SESSIONS[-1]


def found(given: Any = None, **project: Any) -> list[str]:
    """The ids of what the checks find, and the text of the last in `texts`."""
    with override_settings(SKELDIR_JWT=ISSUER if given is None else given, **project):
        messages = [message for message in run_checks() if str(message.id).startswith("skeldir_jwt_mw.")]
    texts[:] = [f"{message.msg} {message.hint}" for message in messages]
    return [str(message.id).removeprefix("skeldir_jwt_mw.") for message in messages]


texts: list[str] = []


def test_a_project_in_order_is_told_nothing() -> None:
    assert found() == []
    assert found(MIDDLEWARE=[*SESSIONS, OURS]) == []
    assert found({"VERIFIER": new_verifier()}) == []


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ({}, "E001", "SKELDIR_JWT['ISSUER'] is missing"),
        ({"ISSUER": "https://login.example.com/"}, "E001", "SKELDIR_JWT['AUDIENCE'] is missing"),
        (
            {"ISSUERS": [ISSUER, {"AUDIENCE": "a"}]},
            "E001",
            "SKELDIR_JWT['ISSUERS'][1]['ISSUER'] is missing",
        ),
        ({**ISSUER, "AUDIANCE": "a"}, "E002", "SKELDIR_JWT['AUDIANCE'] is not a setting, did you mean"),
        (
            {"ISSUERS": [{**ISSUER, "LEWAY": 3}]},
            "E002",
            "SKELDIR_JWT['ISSUERS'][0]['LEWAY'] is not a setting, did you mean 'LEEWAY'",
        ),
        ([], "E003", "SKELDIR_JWT ([]) must be a dict"),
        ({**ISSUER, "LEEWAY": -1}, "E003", "SKELDIR_JWT['LEEWAY'] (-1)"),
        ({**ISSUER, "ISSUER": "http://login.example.com/"}, "E003", "SKELDIR_JWT['ISSUER']"),
        ({**ISSUER, "JWKS_URL": "http://login.example.com/jwks"}, "E003", "SKELDIR_JWT['JWKS_URL']"),
        ({**ISSUER, "EXEMPT": "/health"}, "E003", "SKELDIR_JWT['EXEMPT'] ('/health')"),
        ({**ISSUER, "EXEMPT": ["/docs/*"]}, "E003", "SKELDIR_JWT['EXEMPT'] ('/docs/*') must hold paths"),
        (
            {**ISSUER, "ISSUER": "https://login.example.com/.well-known/openid-configuration"},
            "E003",
            "write what stands before /.well-known",
        ),
        (
            {**ISSUER, "ISSUER": "http://localhost:8080/", "ALLOW_HTTP": True},
            "E003",
            "is on a private host: it also needs allow_private_hosts=True",
        ),
        ({**ISSUER, "STORE": PostgresStore}, "E003", "SKELDIR_JWT['STORE'] is the class PostgresStore"),
        ({**ISSUER, "STORE": 3}, "E003", "SKELDIR_JWT['STORE'] (of type int)"),
        ({**ISSUER, "USER_RESOLVER": "no.such"}, "E004", "SKELDIR_JWT['USER_RESOLVER'] ('no.such')"),
        ({**ISSUER, "USER_RESOLVER": "os.name"}, "E004", "must be a callable"),
        ({**ISSUER, "TOKEN_GETTER": "os.no_such"}, "E004", "SKELDIR_JWT['TOKEN_GETTER'] ('os.no_such')"),
        ({"VERIFIER": "os.no_such"}, "E004", "SKELDIR_JWT['VERIFIER'] ('os.no_such')"),
        (
            {**ISSUER, "DATABASE": "replica"},
            "E005",
            "SKELDIR_JWT['DATABASE'] ('replica') is not in DATABASES",
        ),
    ],
)
def test_what_is_wrong_is_an_error_that_names_the_setting(given: Any, kind: str, text: str) -> None:
    assert found(given) == [kind]
    assert text in texts[0]


def test_the_package_in_place_of_the_app_is_told_at_the_start() -> None:
    code = (
        "import django; from django.conf import settings;"
        "settings.configure(SECRET_KEY='x', INSTALLED_APPS=['skeldir_jwt_mw']); django.setup()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "write 'skeldir_jwt_mw.django', which is the app" in done.stderr.splitlines()[-1]


def test_the_setting_can_be_missing_whole() -> None:
    with override_settings(SKELDIR_JWT=None):
        messages = [message.id for message in run_checks() if str(message.id).startswith("skeldir_jwt_mw.")]
    assert messages == ["skeldir_jwt_mw.E001"]


def test_a_verifier_that_is_made_by_a_callable_is_not_made_for_the_check() -> None:
    def make() -> Verifier:
        raise AssertionError("it was made")

    assert found({"VERIFIER": make}) == []


# -- where the middleware stands ---------------------------------------------------------------------------

CACHE = "django.middleware.cache.FetchFromCacheMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"
DERIVED = "test_checks.DerivedMiddleware"


def derived() -> type:
    from skeldir_jwt_mw.django import JWTMiddleware

    return type("DerivedMiddleware", (JWTMiddleware,), {})


DerivedMiddleware = derived()


@pytest.mark.parametrize("ours", [OURS, DERIVED])
@pytest.mark.parametrize(
    ("middleware", "kinds"),
    [
        ([*SESSIONS, "ours"], []),
        (["ours"], []),
        (["ours", *SESSIONS], ["E006"]),
        ([CORS, *SESSIONS, "ours"], []),
        ([*SESSIONS, "ours", CORS], ["W001"]),
        ([*SESSIONS, "ours", CACHE], []),
        ([*SESSIONS, CACHE, "ours"], ["E007"]),
        (["ours", CORS, *SESSIONS], ["E006", "W001"]),
        ([*SESSIONS, CORS, CACHE], []),
        ([*SESSIONS, "no.such.Middleware", "ours"], []),
    ],
)
def test_the_middleware_has_its_place(ours: str, middleware: list[str], kinds: list[str]) -> None:
    assert found(MIDDLEWARE=[ours if path == "ours" else path for path in middleware]) == kinds


# -- what may be meant that way ----------------------------------------------------------------------------


def test_a_cache_that_is_not_sealed_is_warned_about() -> None:
    assert found({**ISSUER, "SEAL_KEYS": []}) == ["W003"]
    assert found({**ISSUER, "SEAL_KEYS": "none"}) == ["W003"]
    assert found({**ISSUER, "SEAL_KEYS": [], "DATABASE_URL": "postgresql://db/app"}) == ["W003"]
    assert found({**ISSUER, "SEAL_KEYS": [], "STORE": MemoryStore()}) == []


PLAIN = {"ISSUER": "http://127.0.0.1:8000", "AUDIENCE": "a", "ALLOW_HTTP": True, "ALLOW_PRIVATE_HOSTS": True}


def test_plain_http_is_for_development() -> None:
    assert found(PLAIN, DEBUG=False) == ["W004"]
    assert "http://127.0.0.1:8000" in texts[0]
    assert found(PLAIN, DEBUG=True) == []
    assert found({"ISSUERS": [ISSUER, PLAIN]}, DEBUG=False) == ["W004"]


def test_a_database_that_is_not_postgresql_leaves_each_process_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django.db import connections

    from skeldir_jwt_mw.django import conf

    sqlite = {**connections.settings["default"], "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    monkeypatch.setitem(connections.settings, "default", sqlite)
    assert found({**ISSUER, "SEAL_KEYS": []}) == ["W002"]
    assert "'default'" in texts[0]
    assert found({**ISSUER, "DATABASE_URL": "postgresql://db/app"}) == []
    with override_settings(SKELDIR_JWT=ISSUER):
        assert isinstance(conf.verifier()._setup.store, MemoryStore)
