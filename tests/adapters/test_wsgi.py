"""What is WSGI's own: the environ, REMOTE_USER, and how bodies reach the server (PEP 3333)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from skeldir_jwt_mw import Verifier
from skeldir_jwt_mw.wsgi import JWTMiddleware


def environ_of(token: str | None, **more: Any) -> dict[str, Any]:
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", **more}
    if token is not None:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return environ


def start_response(
    status: str, headers: list[tuple[str, str]], exc_info: Any = None
) -> Callable[[bytes], None]:
    return lambda data: None


def seen_by(verifier: Verifier, environ: dict[str, Any], **options: Any) -> dict[str, Any] | None:
    """The environ that the app was called with."""
    calls: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        calls.append(dict(environ))
        start_response("200 OK", [])
        return []

    JWTMiddleware(app, verifier, **options)(environ, start_response)
    return calls[0] if calls else None


@pytest.mark.parametrize("forged", [{}, {"REMOTE_USER": "admin"}])
def test_remote_user_is_the_subject(
    verifier: Verifier, tokens: dict[str, str], forged: dict[str, str]
) -> None:
    seen = seen_by(verifier, environ_of(tokens["valid"], **forged), remote_user=True)
    assert seen is not None
    assert seen["REMOTE_USER"] == "user-1"


def test_remote_user_is_empty_for_a_token_without_subject(verifier: Verifier, tokens: dict[str, str]) -> None:
    seen = seen_by(verifier, environ_of(tokens["nobody"], REMOTE_USER="admin"), remote_user=True)
    assert seen is not None
    assert seen["REMOTE_USER"] == ""


@pytest.mark.parametrize("options", [{"required": False}, {"exempt": ("/",)}])
def test_an_anonymous_request_has_no_remote_user(verifier: Verifier, options: dict[str, Any]) -> None:
    seen = seen_by(verifier, environ_of(None, REMOTE_USER="admin"), remote_user=True, **options)
    assert seen is not None
    assert "REMOTE_USER" not in seen
    assert seen["skeldir_jwt"] is None


def test_remote_user_is_the_servers_unless_it_is_asked_for(
    verifier: Verifier, tokens: dict[str, str]
) -> None:
    seen = seen_by(verifier, environ_of(tokens["valid"], REMOTE_USER="server"))
    assert seen is not None
    assert seen["REMOTE_USER"] == "server"
    seen = seen_by(verifier, environ_of(tokens["valid"]))
    assert seen is not None
    assert "REMOTE_USER" not in seen


def test_a_token_that_stood_in_the_environ_is_replaced(verifier: Verifier) -> None:
    seen = seen_by(verifier, environ_of(None, skeldir_jwt="left over"), required=False)
    assert seen is not None
    assert seen["skeldir_jwt"] is None


def test_the_path_is_matched_without_the_script_name(verifier: Verifier) -> None:
    options = {"exempt": ("/health",)}
    assert seen_by(verifier, environ_of(None, SCRIPT_NAME="/api", PATH_INFO="/health"), **options) is not None
    assert seen_by(verifier, environ_of(None, SCRIPT_NAME="/health", PATH_INFO=""), **options) is None
    assert seen_by(verifier, environ_of(None, SCRIPT_NAME="", PATH_INFO="/api/health"), **options) is None


@pytest.mark.parametrize("header", ["Bearer \u0100.b.c", "Bearer \ud800.b.c", "Bearer a\x00b"])
def test_characters_that_no_server_sends_are_malformed_credentials(verifier: Verifier, header: str) -> None:
    statuses: list[str] = []
    app = JWTMiddleware(_never_called, verifier)
    app(environ_of(None, HTTP_AUTHORIZATION=header), lambda status, headers, _=None: statuses.append(status))  # type: ignore[arg-type, return-value, misc]
    assert statuses == ["400 Bad Request"]


def _never_called(environ: Any, start_response: Any) -> Iterable[bytes]:
    raise AssertionError


def test_the_apps_start_response_is_the_servers(verifier: Verifier, tokens: dict[str, str]) -> None:
    written: list[bytes] = []

    def servers_own(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        return written.append

    def app(environ: Any, start_response: Any) -> list[bytes]:
        assert start_response is servers_own
        start_response("200 OK", [])(b"written")
        return []

    JWTMiddleware(app, verifier)(environ_of(tokens["valid"]), servers_own)
    assert written == [b"written"]


def test_a_file_wrapper_reaches_the_server_as_it_is(verifier: Verifier, tokens: dict[str, str]) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        body: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"file"))
        return body

    environ = environ_of(tokens["valid"], **{"wsgi.file_wrapper": FileWrapper})
    assert isinstance(JWTMiddleware(app, verifier)(environ, start_response), FileWrapper)


def test_an_error_while_streaming_reaches_the_server(verifier: Verifier, tokens: dict[str, str]) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        yield b"one"
        raise LookupError("midway")

    body = JWTMiddleware(app, verifier)(environ_of(tokens["valid"]), start_response)
    with pytest.raises(LookupError, match="midway"):
        list(body)
    getattr(body, "close", lambda: None)()


@pytest.mark.parametrize("kind", ["valid", "expired", None])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_middleware_keeps_to_pep_3333(
    verifier: Verifier, tokens: dict[str, str], kind: str | None, method: str
) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"" if method == "HEAD" else b"ok"

    # The app is not wrapped too: the validator wants every variable without a dot in its name to be a string.
    environ = environ_of(
        None if kind is None else tokens[kind], REQUEST_METHOD=method, QUERY_STRING="", SCRIPT_NAME=""
    )
    setup_testing_defaults(environ)
    body = validator(JWTMiddleware(app, verifier))(environ, start_response)
    assert list(body)
    body.close()  # type: ignore[attr-defined]
