"""A wrong option is a ConfigurationError when the middleware is made, and says which one and why."""

from __future__ import annotations

import inspect
import json
import logging
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from identity import AUDIENCE, ISSUER

from skeldir_jwt_mw import ConfigurationError, Verifier
from skeldir_jwt_mw._http import EnvironRequest, Guard
from skeldir_jwt_mw.asgi import JWTMiddleware as ASGIMiddleware
from skeldir_jwt_mw.asgi import first_of, from_cookie, from_header, jwt_shaped
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


# The options of each adapter, as a caller may give them: each is the default, and the settings say otherwise.
GIVEN: dict[str, Any] = {
    "required": True,
    "exempt": (),
    "exempt_preflight": False,
    "realm": "api",
    "resource": None,
    "token_getter": None,
    "user_key": None,
}
OTHERWISE: dict[str, Any] = {
    "REQUIRED": False,
    "EXEMPT": ["/"],
    "EXEMPT_PREFLIGHT": True,
    "REALM": "elsewhere",
    "RESOURCE": "https://api.example.com/",
    "TOKEN_GETTER": "test_options.nothing",
    "USER_KEY": "issuer",
}


def nothing(_: object) -> None:
    """A token getter that never finds a token."""


def by_flask(**options: Any) -> Guard:
    flask = pytest.importorskip("flask")
    from skeldir_jwt_mw.flask import JWT

    guarded = flask.Flask("options")
    JWT(guarded, **options)
    guard: Guard = guarded.extensions["skeldir_jwt"]
    return guard


def by_flask_s_own_settings(**options: Any) -> Guard:
    flask = pytest.importorskip("flask")
    from skeldir_jwt_mw.flask import JWT

    guarded = flask.Flask("options")
    guarded.config["SKELDIR_JWT"] = json.loads(os.environ["SKELDIR_JWT_CONFIG"])
    JWT(**options).init_app(guarded)
    guard: Guard = guarded.extensions["skeldir_jwt"]
    return guard


def by_fastapi(**options: Any) -> Guard:
    pytest.importorskip("fastapi")
    from skeldir_jwt_mw.fastapi import JWTBearer

    return JWTBearer(**options)._guard


def by_authlib(**options: Any) -> Guard:
    from skeldir_jwt_mw.authlib import BearerTokenValidator

    return BearerTokenValidator(**options)._guard


MAKERS: dict[str, tuple[Any, Callable[..., Guard]]] = {
    "guard": (Guard, Guard),
    "asgi": (ASGIMiddleware, lambda **options: ASGIMiddleware(app, **options)._guard),
    "wsgi": (WSGIMiddleware, lambda **options: WSGIMiddleware(app, **options)._guard),
    "flask": ("skeldir_jwt_mw.flask:JWT", by_flask),
    "flask, its own settings": ("skeldir_jwt_mw.flask:JWT", by_flask_s_own_settings),
    "fastapi": ("skeldir_jwt_mw.fastapi:JWTBearer", by_fastapi),
    "authlib": ("skeldir_jwt_mw.authlib:BearerTokenValidator", by_authlib),
}


def options_of(adapter: str) -> dict[str, inspect.Parameter]:
    """The options that an adapter takes, by the names that all adapters have for them."""
    kind = MAKERS[adapter][0]
    if isinstance(kind, str):
        module, _, name = kind.partition(":")
        kind = getattr(import_module(module), name)
    parameters = inspect.signature(kind).parameters
    return {name: parameters[name] for name in GIVEN if name in parameters}


def said_by(guard: Guard) -> dict[str, Any]:
    """What holds of every option, as requests get to feel it."""
    preflight = {"HTTP_ORIGIN": "https://a.example.com", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}
    bare = EnvironRequest({"REQUEST_METHOD": "OPTIONS", "PATH_INFO": "/orders", **preflight})
    told = dict(guard.unauthorized(bare).headers)["WWW-Authenticate"]
    return {
        "required": guard.required,
        "exempt": bare in guard._exempt,
        "exempt_preflight": guard.admits(bare),
        "realm": guard.realm,
        "resource": "resource_metadata" in told,
        "token_getter": guard.token_getter is not None,
        "user_key": guard._user_key.__name__,
    }


@pytest.mark.parametrize("adapter", MAKERS)
def test_an_option_that_is_given_wins_over_the_settings_whatever_its_value(
    monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    make = MAKERS[adapter][1]
    options = {name: GIVEN[name] for name in options_of(adapter)}
    configure(monkeypatch)
    by_default = said_by(make())
    assert said_by(make(**options)) == by_default
    configure(monkeypatch, **OTHERWISE)
    left_out = said_by(make())
    for name in options:
        assert left_out[name] != by_default[name], name
        alone = said_by(make(**{name: GIVEN[name]}))
        assert alone[name] == by_default[name], name
        assert {**alone, name: left_out[name]} == left_out, name
    given = said_by(make(**options))
    assert {name: given[name] for name in options} == {name: by_default[name] for name in options}


@pytest.mark.parametrize("adapter", MAKERS)
def test_the_signature_shows_the_defaults_as_they_are(adapter: str) -> None:
    options = options_of(adapter)
    assert options
    for name, parameter in options.items():
        assert repr(parameter.default) == repr(GIVEN[name]), name


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            "get /a",
            "must name methods in capitals, with commas between them, such as 'GET,HEAD /a', did you",
        ),
        ("GETT /a", "did you mean 'GET'"),
        ("GET, HEAD /a", "with commas between them"),
        ("GET,,HEAD /a", "with commas between them"),
        (",GET /a", "with commas between them"),
        ("GET  /a", "with commas between them"),
        (" /a", "with commas between them"),
        ("PURGE /a", "there are CONNECT, DELETE, GET"),
        ("GET a", "start with /"),
        ("GET", "start with /"),
        ("GET /a/../b", "dot segments"),
        ("GET /docs/*", "no patterns: write '/docs/'"),
        ("GET //a", "//"),
    ],
)
def test_methods_in_exempt_are_capitals_with_commas_before_a_path(
    verifier: Verifier, entry: str, text: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Guard(verifier, exempt=(entry,))
    assert text in str(refused.value)
    assert repr(entry) in str(refused.value)


def test_exempting_every_path_for_a_method_is_said_aloud(
    verifier: Verifier, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="skeldir_jwt_mw"):
        Guard(verifier, exempt=("GET,HEAD /",))
    assert "no request needs a token (methods: GET, HEAD)" in caplog.text


@pytest.mark.parametrize("given", ["sub", "", 1, True, ("issuer",)])
def test_the_user_key_is_one_of_its_words(verifier: Verifier, given: Any) -> None:
    with pytest.raises(ConfigurationError, match="user_key"):
        Guard(verifier, user_key=given)


@pytest.mark.parametrize("make", [first_of, jwt_shaped])
@pytest.mark.parametrize("given", [None, "Authorization", 1])
def test_a_getter_of_getters_needs_functions(make: Any, given: Any) -> None:
    with pytest.raises(ConfigurationError):
        make(given)


def test_the_first_of_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="first_of"):
        first_of()


@pytest.mark.parametrize("scheme", ["", "a b", "a=b", "Bearer ", 1])
def test_a_scheme_is_a_name(scheme: Any) -> None:
    with pytest.raises(ConfigurationError, match="scheme"):
        from_header("X-Token", scheme=scheme)


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
