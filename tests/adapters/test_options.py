"""A wrong option is a ConfigurationError when the middleware is made, and says which one and why."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from identity import AUDIENCE, ISSUER

from skeldir_jwt_mw import ConfigurationError, Verifier
from skeldir_jwt_mw._http import EnvironRequest, Guard
from skeldir_jwt_mw.asgi import JWTMiddleware as ASGIMiddleware
from skeldir_jwt_mw.asgi import from_cookie, from_header
from skeldir_jwt_mw.wsgi import JWTMiddleware as WSGIMiddleware

both = pytest.mark.parametrize("middleware", [ASGIMiddleware, WSGIMiddleware], ids=["asgi", "wsgi"])


def app(*_: object) -> Any:
    """No request gets here."""
    raise AssertionError


@both
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"exempt": "/health"}, "exempt"),
        ({"exempt": b"/health"}, "exempt"),
        ({"exempt": 1}, "exempt"),
        ({"exempt": ("health",)}, "start with /"),
        ({"exempt": ("/health", "public/")}, "'public/'"),
        ({"exempt": ("",)}, "exempt"),
        ({"exempt": (b"/health",)}, "exempt"),
        ({"exempt": (None,)}, "exempt"),
        ({"exempt": ("https://example.com/health",)}, "exempt"),
        ({"exempt": ("/public/../orders",)}, "dot segments"),
        ({"exempt": ("//health",)}, "//"),
        ({"exempt": ("/docs/*",)}, "no patterns: write '/docs/' for every path below it"),
        ({"exempt": ("/{path}",)}, "no patterns: name each path"),
        ({"exempt": ("/a\\b",)}, "exempt"),
        ({"exempt": ("/a\n",)}, "exempt"),
        ({"required": "no"}, "required"),
        ({"required": 1}, "required"),
        ({"required": None}, "required"),
        ({"exempt_preflight": "yes"}, "exempt_preflight"),
        ({"realm": ""}, "realm"),
        ({"realm": None}, "realm"),
        ({"realm": "a\r\nSet-Cookie: b"}, "realm"),
        ({"realm": "für"}, "realm"),
        ({"resource": "/orders"}, "resource"),
        ({"resource": "api.example.com"}, "resource"),
        ({"resource": ""}, "resource"),
        ({"resource": "https://api.example.com/#a"}, "resource"),
        ({"resource": "https://user@api.example.com/"}, "resource"),
        ({"resource": 'https://api.example.com/"'}, "resource"),
        ({"resource": "ftp://api.example.com/"}, "resource"),
        ({"resource": {}}, "resource"),
        ({"resource": {"authorization_servers": []}}, "resource"),
        ({"resource": {"resource": "/orders"}}, "resource"),
        ({"resource": {"resource": "https://api.example.com", "scopes_supported": {"a"}}}, "JSON"),
        ({"resource": {"resource": "https://api.example.com", "x": float("nan")}}, "JSON"),
        ({"resource": 1}, "resource"),
        ({"token_getter": "Authorization"}, "token_getter"),
        ({"verifier": "myapp.verifier"}, "verifier"),
        ({"verifier": Verifier}, "verifier"),
        ({"verifier": object()}, "verifier"),
    ],
)
def test_a_wrong_option_is_named(
    middleware: Any, options: dict[str, Any], text: str, verifier: Verifier
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        middleware(app, **{"verifier": verifier, **options})
    assert text in str(refused.value)


def test_remote_user_is_a_flag(verifier: Verifier) -> None:
    with pytest.raises(ConfigurationError, match="remote_user"):
        WSGIMiddleware(app, verifier, remote_user="yes")  # type: ignore[arg-type]


@both
def test_a_misspelt_option_is_a_type_error(middleware: Any, verifier: Verifier) -> None:
    with pytest.raises(TypeError, match="requird"):
        middleware(app, verifier=verifier, requird=False)


@pytest.mark.parametrize("make", [from_header, from_cookie])
@pytest.mark.parametrize("name", ["", "a b", "a:b", "a=b", "a;b", "ä", None])
def test_a_getter_needs_a_name(make: Any, name: Any) -> None:
    with pytest.raises(ConfigurationError):
        make(name)


@both
def test_without_a_verifier_the_environment_describes_it(
    middleware: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKELDIR_JWT_ISSUER", ISSUER)
    monkeypatch.setenv("SKELDIR_JWT_AUDIENCE", AUDIENCE)
    with_resource = middleware(app, resource="https://api.example.com")
    guard = with_resource._guard
    assert isinstance(guard.verifier, Verifier)
    guard.verifier.close()


def configure(monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    settings = {"ISSUER": "https://login.example.com/", "AUDIENCE": "orders-api", **options}
    monkeypatch.setenv("SKELDIR_JWT_CONFIG", json.dumps(settings))


def test_without_a_verifier_the_settings_speak_for_options_left_at_their_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(monkeypatch, REQUIRED=False, EXEMPT=["/health"], REALM="orders")
    plain, named = Guard(), Guard(realm="mine", exempt=["/other"])
    anonymous = EnvironRequest({"REQUEST_METHOD": "GET", "PATH_INFO": "/"})
    assert plain.judge(anonymous) is None
    assert ("WWW-Authenticate", 'Bearer realm="orders"') in plain.unauthorized(anonymous).headers
    assert ("WWW-Authenticate", 'Bearer realm="mine"') in named.unauthorized(anonymous).headers


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (
            {"REMOTE_USER": True},
            "SKELDIR_JWT_CONFIG['REMOTE_USER'] (True) must be given to the WSGI middleware itself",
        ),
        (
            {"USER_RESOLVER": "app.users.resolve"},
            "SKELDIR_JWT_CONFIG['USER_RESOLVER'] ('app.users.resolve') is for Django's settings alone",
        ),
    ],
)
def test_a_setting_that_is_for_elsewhere_is_refused(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, object], text: str
) -> None:
    configure(monkeypatch, **setting)
    with pytest.raises(ConfigurationError) as refused:
        Guard()
    assert str(refused.value) == text


def test_what_is_no_verifier_is_shown() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Guard("myapp.verifier")  # type: ignore[arg-type]
    assert str(refused.value) == "verifier ('myapp.verifier') must be a Verifier"


@both
def test_without_a_verifier_and_without_an_environment_construction_fails(
    middleware: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SKELDIR_JWT_ISSUER", raising=False)
    with pytest.raises(ConfigurationError):
        middleware(app)


@both
def test_exempting_everything_is_said_aloud(
    middleware: Any, verifier: Verifier, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="skeldir_jwt_mw"):
        middleware(app, verifier, exempt=("/",))
    assert "every path" in caplog.text


def test_lists_tuples_and_sets_of_paths_are_taken(verifier: Verifier) -> None:
    for exempt in (["/a"], ("/a",), {"/a"}, frozenset({"/a"})):
        ASGIMiddleware(app, verifier, exempt=exempt)


def test_the_resource_is_copied(verifier: Verifier) -> None:
    members = {"resource": "https://api.example.com"}
    made = ASGIMiddleware(app, verifier, resource=members)
    members["resource"] = "https://evil.example.com"
    resource = made._guard._resource
    assert resource is not None
    assert "evil" not in json.dumps(resource.document([], in_header=True))
