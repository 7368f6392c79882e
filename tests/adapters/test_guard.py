"""The guard itself: what no request of the table can bring about, and texts that could break a header."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from skeldir_jwt_mw import InsufficientScope, InvalidToken, KeysUnavailable, Verifier
from skeldir_jwt_mw._http import DESCRIPTIONS, EnvironRequest, Guard, Response, ScopeRequest
from skeldir_jwt_mw.errors import INVALID_TOKEN_MESSAGES
from skeldir_jwt_mw.protected_resource import ProtectedResource

HTTP = {"type": "http", "method": "GET", "path": "/"}


def get(**environ: str) -> EnvironRequest:
    return EnvironRequest({"REQUEST_METHOD": "GET", "PATH_INFO": "/", **environ})


def header(response: Response, name: str) -> str | None:
    return dict(response.headers).get(name)


def test_r41_a_missing_scope_is_a_403_that_names_the_scopes(verifier: Verifier) -> None:
    response = Guard(verifier).refusal(get(), b"a.b.c", InsufficientScope(("orders:read", "orders:write")))
    assert response.status == 403
    assert header(response, "WWW-Authenticate") == (
        'Bearer realm="api", error="insufficient_scope", '
        'error_description="The access token lacks a required scope", scope="orders:read orders:write"'
    )
    assert json.loads(response.body)["error"] == "insufficient_scope"


@pytest.mark.parametrize(
    ("scope", "quoted"),
    [
        ('a"b', r"a\"b"),
        ("a\\b", r"a\\b"),
        ("a\r\nSet-Cookie: b=c", "a??Set-Cookie: b=c"),
        ("für", "f?r"),
        (" ~}", " ~}"),
        ("\x1f\x80", "??"),
        ("a\x00\x7f", "a??"),
        ("\u2028", "?"),
    ],
)
def test_r41_no_scope_breaks_out_of_the_challenge(verifier: Verifier, scope: str, quoted: str) -> None:
    response = Guard(verifier).refusal(get(), b"a.b.c", InsufficientScope((scope,)))
    challenge = header(response, "WWW-Authenticate")
    assert challenge is not None
    assert challenge.endswith(f', scope="{quoted}"')
    assert challenge.isprintable()
    assert challenge.isascii()


@pytest.mark.parametrize(
    ("seconds", "header_value"),
    [(0, "1"), (0.2, "1"), (1, "1"), (1.01, "2"), (2.0, "2"), (59.4, "60"), (1e9, "3600")],
)
def test_r41_retry_after_is_whole_seconds_and_at_least_one(
    verifier: Verifier, seconds: float, header_value: str
) -> None:
    response = Guard(verifier).refusal(get(), b"a.b.c", KeysUnavailable("failed", seconds))
    assert response.status == 503
    assert header(response, "Retry-After") == header_value
    assert header(response, "WWW-Authenticate") is None


def test_r44_all_codes_of_invalid_tokens_have_one_answer(verifier: Verifier) -> None:
    guard = Guard(verifier)
    answers = {
        guard.refusal(get(), b"a.b.c", InvalidToken(code, "a hint")) for code in INVALID_TOKEN_MESSAGES
    }
    assert len(answers) == 1


@pytest.mark.parametrize(
    "error", [InvalidToken("expired"), KeysUnavailable("failed"), InsufficientScope(("a",))]
)
def test_r40_a_token_outside_the_grammar_is_malformed_whatever_was_said_of_it(
    verifier: Verifier, error: Any
) -> None:
    for raw in (b"a b", "a b", b"", "", "é", "a.b.c\n", b"=", "\u0100"):
        assert Guard(verifier).refusal(get(), raw, error).status == 400


def test_a_refusal_without_a_token_at_hand_keeps_its_status(verifier: Verifier) -> None:
    assert Guard(verifier).refusal(get(), None, InvalidToken("rejected_user")).status == 401


def test_descriptions_fit_into_quotes_as_they_are() -> None:
    for text in DESCRIPTIONS.values():
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & {'"', "\\"}  # RFC 6750 §3


def test_a_header_with_a_length_of_thirteen_is_not_taken_for_authorization(verifier: Verifier) -> None:
    lines = [(b"x-13-letters-", b"a"), (b"Authorization", b"b"), (b"authorization", b"c")]
    assert ScopeRequest({**HTTP, "headers": lines}).authorization == (b"b", b"c")


@pytest.mark.parametrize(("name", "shown"), [("authorization", "authorization"), ("cookie", "headers")])
def test_many_lines_of_one_name_take_as_long_as_they_are_many(name: str, shown: str) -> None:
    """A server may have no limit to them: a megabyte of lines without a value was eight seconds."""
    lines = [(name.encode(), b"")] * 50_000
    began = time.thread_time()
    getattr(ScopeRequest({**HTTP, "headers": lines}), shown)
    assert time.thread_time() - began < 1.0


def test_headers_are_shown_in_lower_case_with_all_their_lines() -> None:
    lines = [(b"X-A", b"1"), (b"x-b", b"\xe9"), (b"x-a", b"2")]
    assert ScopeRequest({**HTTP, "headers": lines}).headers == {"x-a": ("1", "2"), "x-b": ("é",)}
    environ = {
        "HTTP_X_A": "1,2",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "1",
        "PATH_INFO": "/",
        "x": "y",
    }
    shown = EnvironRequest(environ).headers
    assert shown == {"x-a": ("1,2",), "content-type": ("text/plain",), "content-length": ("1",)}


def test_r42_names_that_are_no_places_are_not_published_as_servers(verifier: Verifier) -> None:
    issuers = [
        "https://a.example.com",
        "opaque",
        "https://b.example.com/{tid}/v2.0",
        "http://adfs.example.com",
    ]
    document = ProtectedResource("https://api.example.com").document(issuers, in_header=True)
    assert document["authorization_servers"] == ["https://a.example.com", "http://adfs.example.com"]
    assert "authorization_servers" not in ProtectedResource("https://api.example.com").document(
        [], in_header=True
    )


@pytest.mark.parametrize("value", ["Bearer", "bearer\t", "Bearer,", "Basic a, Bearer b"])
def test_r40_malformed_credentials_never_get_to_the_verifier(verifier: Verifier, value: str) -> None:
    for required in (True, False):
        answer = Guard(verifier, required=required).judge(get(HTTP_AUTHORIZATION=value))
        assert isinstance(answer, Response)
        assert answer.status == 400


def test_credentials_are_read_alike_whatever_the_path_and_the_method(verifier: Verifier) -> None:
    guard = Guard(verifier, exempt=("/",), resource="https://api.example.com")
    preflight = {"HTTP_ORIGIN": "https://a.example.com", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}
    for environ in (
        {},
        {"PATH_INFO": "/.well-known/oauth-protected-resource"},
        {"REQUEST_METHOD": "OPTIONS", **preflight},
    ):
        assert guard.credentials(get(**environ)) is None
        assert guard.credentials(get(**environ, HTTP_AUTHORIZATION="Bearer a.b.c")) == b"a.b.c"
        malformed = guard.credentials(get(**environ, HTTP_AUTHORIZATION="Bearer"))
        assert isinstance(malformed, Response)
        assert malformed.status == 400


def test_what_a_route_asks_for_is_answered_as_the_middleware_would(
    verifier: Verifier, tokens: dict[str, str]
) -> None:
    guard = Guard(verifier)
    head = get(REQUEST_METHOD="HEAD")
    for request in (get(), head):
        assert guard.shortfall(request, None, ()) == guard.unauthorized(request)
        token = verifier.verify(tokens["valid"])
        assert guard.shortfall(request, token, ()) is None
        assert guard.shortfall(request, token, ("nobody:has",)) == guard.refusal(
            request, None, InsufficientScope(("nobody:has",))
        )
    assert guard.unauthorized(head).body == b""


@pytest.mark.parametrize("left", [{"scopes": ["admin"]}, "a.b.c", True, object()])
def test_what_is_no_verified_token_suffices_for_nothing(verifier: Verifier, left: Any) -> None:
    for scopes in ((), ("orders:read",)):
        refusal = Guard(verifier).shortfall(get(), left, scopes)
        assert refusal is not None
        assert refusal.status == 401


def test_a_response_tells_what_it_says_apart_from_how_it_is_written(verifier: Verifier) -> None:
    guard = Guard(verifier)
    for method in ("GET", "HEAD"):
        response = guard.refusal(get(REQUEST_METHOD=method), b"a.b.c", InvalidToken("expired"))
        assert response.content == {
            "error": "invalid_token",
            "error_description": "The access token is not valid",
        }
        assert list(response.own_headers) == ["WWW-Authenticate"]
        assert bool(response.body) is (method == "GET")
    response = guard.refusal(get(), b"a.b.c", KeysUnavailable("failed", 2))
    assert response.own_headers == {"Retry-After": "2"}
