"""The validator in Authlib's own protectors, for Flask and for Django."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import flask
import pytest
from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.integrations.flask_oauth2 import current_token as authlibs_token
from calling import Result
from identity import AUDIENCE, ISSUER, Signer, Verifiers
from request_table import INVALID_REQUEST, INVALID_TOKEN, METADATA_URL, PLAIN

from skeldir_jwt_mw import ConfigurationError, VerifiedToken, Verifier, current_token
from skeldir_jwt_mw._http import DESCRIPTIONS
from skeldir_jwt_mw.authlib import BearerTokenValidator
from skeldir_jwt_mw.flask import JWT

Ask = Callable[..., Result]  # (validator, authorization, scopes, **options of require_oauth)


def by_flask(
    validator: BearerTokenValidator, authorization: str | None, scopes: Any = None, **options: Any
) -> Result:
    """Status, headers and body of a view under Flask's protector."""
    require_oauth = ResourceProtector()
    require_oauth.register_token_validator(validator)
    app = flask.Flask("orders")

    @app.route("/")
    @require_oauth(scopes, **options)
    def orders() -> dict[str, Any]:
        return seen_of(authlibs_token._get_current_object())

    headers = {} if authorization is None else {"Authorization": authorization}
    with app.test_client().get("/", headers=headers, base_url="https://api.example.com") as response:
        lines = tuple((name.lower(), value) for name, value in response.headers)
        return Result(status=response.status_code, headers=lines, body=response.data)


def by_django(
    validator: BearerTokenValidator, authorization: str | None, scopes: Any = None, **options: Any
) -> Result:
    """The same of one under Django's."""
    from authlib.integrations.django_oauth2 import ResourceProtector
    from django.http import HttpRequest, JsonResponse
    from django.test import RequestFactory

    require_oauth = ResourceProtector()
    require_oauth.register_token_validator(validator)

    @require_oauth(scopes, **options)
    def orders(request: HttpRequest) -> JsonResponse:
        return JsonResponse(seen_of(request.oauth_token))  # type: ignore[attr-defined]

    headers = {} if authorization is None else {"Authorization": authorization}
    response = orders(RequestFactory().get("/", headers=headers, secure=True))
    lines = tuple((name.lower(), value) for name, value in response.items())
    return Result(status=response.status_code, headers=lines, body=response.content)


def seen_of(token: VerifiedToken | None) -> dict[str, Any]:
    """What the view says."""
    return {"subject": None if token is None else token.subject}


PROTECTORS: dict[str, Ask] = {"flask": by_flask}
if find_spec("django") is not None:
    PROTECTORS["django"] = by_django


@pytest.fixture(params=PROTECTORS)
def ask(request: pytest.FixtureRequest) -> Ask:
    return PROTECTORS[request.param]


def test_a_view_sees_the_verified_token(ask: Ask, verifier: Verifier, tokens: dict[str, str]) -> None:
    for scheme in ("Bearer ", "bearer ", "BEARER  "):
        answer = ask(BearerTokenValidator(verifier), scheme + tokens["valid"])
        assert (answer.status, json.loads(answer.body)) == (200, {"subject": "user-1"})
    answer = ask(BearerTokenValidator(verifier), f"Bearer {tokens['valid']} ")
    assert answer.status == 200
    answer = ask(BearerTokenValidator(verifier), f"Bearer {tokens['nobody']}")
    assert json.loads(answer.body) == {"subject": ""}


def is_refused(answer: Result, status: int, challenge: str | None, error: str) -> None:
    assert answer.status == status
    assert answer.header("www-authenticate") == challenge
    assert answer.header("content-type") == "application/json"
    assert answer.header("cache-control") == "no-store"
    assert json.loads(answer.body) == {"error": error, "error_description": DESCRIPTIONS[error]}


@pytest.mark.parametrize(
    "kind", ["expired", "misaddressed", "unsigned", "forged", "unknown_key", "alien", "scribbled"]
)
def test_r44_authlib_answers_every_invalid_token_alike(
    ask: Ask, verifier: Verifier, tokens: dict[str, str], kind: str
) -> None:
    answer = ask(BearerTokenValidator(verifier), f"Bearer {tokens[kind]}")
    is_refused(answer, 401, INVALID_TOKEN, "invalid_token")


@pytest.mark.parametrize(
    "form",
    [
        "Bearer {valid},Bearer {valid}",
        "Bearer {valid}, Bearer {expired}",
        "Bearer {valid} {valid}",
        'Bearer "{valid}"',
        "Bearer\t{valid}",
        "Bearer token={valid}",
        "Bearer {valid}é",
    ],
)
def test_r40_authlib_gets_no_malformed_credentials_through(
    ask: Ask, verifier: Verifier, tokens: dict[str, str], form: str
) -> None:
    for name, token in tokens.items():
        form = form.replace(f"{{{name}}}", token)
    is_refused(ask(BearerTokenValidator(verifier), form), 400, INVALID_REQUEST, "invalid_request")


@pytest.mark.parametrize(
    ("scopes", "status", "named"),
    [
        (None, 200, ""),
        ([], 200, ""),
        ("orders:read", 200, ""),
        ("orders:read orders:write", 200, ""),
        (["orders:read orders:write"], 200, ""),
        (["admin", "orders:read"], 200, ""),
        (["orders:read admin", "orders:write"], 200, ""),
        ("admin", 403, "admin"),
        ("orders:read admin", 403, "orders:read admin"),
        (["admin", "auditor"], 403, "admin"),
        (["orders:read admin", "auditor"], 403, "orders:read admin"),
        ("orders", 403, "orders"),
    ],
)
def test_r41_scopes_are_read_as_authlib_reads_them(
    ask: Ask, verifier: Verifier, tokens: dict[str, str], scopes: Any, status: int, named: str
) -> None:
    answer = ask(BearerTokenValidator(verifier), f"Bearer {tokens['valid']}", scopes)
    assert answer.status == status
    if status == 403:
        description = DESCRIPTIONS["insufficient_scope"]
        challenge = f'{PLAIN}, error="insufficient_scope", error_description="{description}", scope="{named}"'
        is_refused(answer, 403, challenge, "insufficient_scope")


def test_a_token_without_scopes_lacks_every_scope(ask: Ask, verifier: Verifier, signer: Signer) -> None:
    token = signer.token(scope=None)
    assert ask(BearerTokenValidator(verifier), f"Bearer {token}").status == 200
    assert ask(BearerTokenValidator(verifier), f"Bearer {token}", "orders:read").status == 403


def test_r41_authlib_answers_503_while_keys_are_unavailable(
    ask: Ask, verifiers: Verifiers, tokens: dict[str, str]
) -> None:
    validator = BearerTokenValidator(verifiers.get(keys=False))
    for options in ({}, {"optional": True}):
        answer = ask(validator, f"Bearer {tokens['valid']}", **options)
        is_refused(answer, 503, None, "temporarily_unavailable")
        assert int(answer.header("retry-after") or 0) >= 1
    assert ask(validator, f"Bearer {tokens['unsigned']}").status == 401


@pytest.mark.parametrize("authorization", [None, "", "Basic dXNlcjpwYXNz", "Bearer"])
def test_authlib_answers_requests_without_credentials_itself(
    ask: Ask, verifier: Verifier, authorization: str | None
) -> None:
    answer = ask(BearerTokenValidator(verifier, realm="orders"), authorization)
    assert answer.status == 401
    assert (answer.header("www-authenticate") or "").startswith('bearer realm="orders"')


def test_an_optional_token_may_be_missing_and_may_not_be_bad(
    ask: Ask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    validator = BearerTokenValidator(verifier)
    assert json.loads(ask(validator, None, optional=True).body) == {"subject": None}
    assert json.loads(ask(validator, f"Bearer {tokens['valid']}", optional=True).body) == {
        "subject": "user-1"
    }
    is_refused(
        ask(validator, f"Bearer {tokens['expired']}", optional=True), 401, INVALID_TOKEN, "invalid_token"
    )


class CountingVerifier:
    """A verifier that counts what it was asked for."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.asked: list[Any] = []

    def verify(self, raw: str | bytes, scopes: Any = ()) -> VerifiedToken:
        """Count, and verify."""
        self.asked.append((raw, tuple(scopes)))
        return self._verifier.verify(raw, scopes)

    async def averify(self, raw: str | bytes, scopes: Any = ()) -> VerifiedToken:
        """Nobody awaits it here."""
        raise AssertionError

    def status(self) -> dict[str, Any]:
        """The verifier's."""
        return self._verifier.status()


def test_a_token_is_verified_once(ask: Ask, verifier: Verifier, tokens: dict[str, str]) -> None:
    for kind, scopes in [
        ("valid", "orders:read"),
        ("valid", ["admin", "auditor"]),
        ("expired", "orders:read"),
    ]:
        counting = CountingVerifier(verifier)
        ask(BearerTokenValidator(counting), f"Bearer {tokens[kind]}", scopes)
        assert counting.asked == [(tokens[kind], ())]


def test_r42_challenges_under_authlib_point_to_the_metadata(
    ask: Ask, verifier: Verifier, tokens: dict[str, str]
) -> None:
    validator = BearerTokenValidator(verifier, resource="https://api.example.com")
    challenge = ask(validator, f"Bearer {tokens['expired']}").header("www-authenticate")
    assert challenge == f'{INVALID_TOKEN}, resource_metadata="{METADATA_URL}"'


def test_without_a_verifier_the_environment_describes_authlibs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="SKELDIR_JWT_ISSUER"):
        BearerTokenValidator()
    with pytest.raises(ConfigurationError, match="verifier"):
        BearerTokenValidator(object())  # type: ignore[arg-type]
    monkeypatch.setenv("SKELDIR_JWT_ISSUER", ISSUER)
    monkeypatch.setenv("SKELDIR_JWT_AUDIENCE", AUDIENCE)
    assert BearerTokenValidator().realm == "api"


def subject() -> str | None:
    """Whose request this is."""
    token = current_token()
    return None if token is None else token.subject


def protected(verifier: Verifier) -> flask.Flask:
    """A Flask app with views that are protected, streamed, failing and open."""
    require_oauth = ResourceProtector()
    require_oauth.register_token_validator(BearerTokenValidator(verifier))
    app = flask.Flask("orders")

    def parts() -> Iterator[str]:
        yield f"{subject()} "
        yield f"{subject()}"

    @app.route("/orders")
    @require_oauth("orders:read")
    def orders() -> str:
        return str(subject())

    @app.route("/stream")
    @require_oauth()
    def stream() -> flask.Response:
        return flask.Response(parts())

    @app.route("/acquired")
    def acquired() -> str:
        before = subject()
        with require_oauth.acquire("orders:read") as token:
            return f"{before} {token.subject} {subject()}"

    @app.route("/fail")
    @require_oauth()
    def fail() -> str:
        raise LookupError(subject())

    @app.route("/open")
    def anybody() -> str:
        return str(subject())

    return app


def test_in_flask_the_current_token_is_authlib_s(verifier: Verifier, tokens: dict[str, str]) -> None:
    client = protected(verifier).test_client()
    headers = {"Authorization": f"Bearer {tokens['valid']}"}

    def text_of(path: str) -> str:
        response = client.get(path, headers=headers, base_url="https://api.example.com")
        text = response.text
        assert current_token() is None  # though the response is not closed
        return text

    assert text_of("/orders") == "user-1"
    assert text_of("/acquired") == "None user-1 user-1"
    assert text_of("/open") == "None"
    assert "Internal Server Error" in text_of("/fail")
    assert text_of("/open") == "None"
    assert text_of("/stream") == "None None"


def test_a_guarded_flask_app_may_have_views_of_authlib(verifier: Verifier, tokens: dict[str, str]) -> None:
    app = protected(verifier)
    JWT(app, verifier, required=False)
    headers = {"Authorization": f"Bearer {tokens['valid']}"}
    for path, text in [("/orders", "user-1"), ("/stream", "user-1 user-1"), ("/open", "user-1")]:
        with app.test_client().get(path, headers=headers, base_url="https://api.example.com") as response:
            assert response.text == text
        assert current_token() is None


def test_the_validator_brings_no_framework_and_no_deprecated_jose() -> None:
    code = "import sys, skeldir_jwt_mw.authlib; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    unwanted = ("authlib.jose", "flask", "django", "werkzeug", "authlib.integrations")
    assert "authlib.oauth2.rfc6750" in loaded
    assert [name for name in loaded if name.startswith(unwanted)] == []
