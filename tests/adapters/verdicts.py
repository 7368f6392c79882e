"""Every way into a service, as one question: does it accept this token, and as what?

A verdict is the token that the app was given, or the status that it was refused with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeAlias

from asking import ask_status

from skeldir_jwt_mw import InvalidToken, KeysUnavailable, VerifiedToken, Verifier, current_token
from skeldir_jwt_mw.asgi import JWTMiddleware as ASGIMiddleware
from skeldir_jwt_mw.credentials import is_b64token
from skeldir_jwt_mw.wsgi import JWTMiddleware as WSGIMiddleware

Verdict: TypeAlias = VerifiedToken | int
Judge: TypeAlias = Callable[[Verifier, str], Verdict]
URL = "https://api.example.com"


def by_verify(verifier: Verifier, raw: str) -> Verdict:
    """No framework at all: what every adapter has to agree with."""
    try:
        return verifier.verify(raw)
    except InvalidToken:
        return 401 if is_b64token(raw) else 400
    except KeysUnavailable:
        return 503


def by_averify(verifier: Verifier, raw: str) -> Verdict:
    """The same in an event loop."""
    try:
        return asyncio.run(verifier.averify(raw))
    except InvalidToken:
        return 401 if is_b64token(raw) else 400
    except KeysUnavailable:
        return 503


class Seen:
    """What an app was given."""

    def __init__(self) -> None:
        self._tokens: list[VerifiedToken | None] = []

    def note(self, token: VerifiedToken | None) -> None:
        """Keep the token of a request, which has to be the current one too, whichever the adapter."""
        assert token is current_token()
        self._tokens.append(token)

    def verdict(self, status: int | None) -> Verdict:
        """The verdict; an app is called once for a token that was accepted, and never else."""
        assert status is not None
        if status != 200:
            assert self._tokens == []
            return status
        [token] = self._tokens
        assert token is not None
        return token


def by_asgi(verifier: Verifier, raw: str) -> Verdict:
    """The ASGI middleware."""
    seen = Seen()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.note(scope["skeldir_jwt"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return seen.verdict(ask_status(ASGIMiddleware(app, verifier), "/", raw)[0])


def by_wsgi(verifier: Verifier, raw: str) -> Verdict:
    """The WSGI middleware."""
    seen, started = Seen(), []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.note(environ["skeldir_jwt"])
        start_response("200 OK", [])
        return []

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_AUTHORIZATION": f"Bearer {raw}"}
    WSGIMiddleware(app, verifier)(environ, lambda status, _, __=None: started.append(status))  # type: ignore[arg-type, return-value, misc, func-returns-value]
    return seen.verdict(int(started[0][:3]))


def by_fastapi(verifier: Verifier, raw: str) -> Verdict:
    """FastAPI's dependency."""
    return _by_fastapi(verifier, raw, middleware=False)


def by_fastapi_behind_the_middleware(verifier: Verifier, raw: str) -> Verdict:
    """FastAPI's dependency, and the ASGI middleware before it."""
    return _by_fastapi(verifier, raw, middleware=True)


def _by_fastapi(verifier: Verifier, raw: str, *, middleware: bool) -> Verdict:
    from fastapi import FastAPI, Security

    from skeldir_jwt_mw.fastapi import JWTBearer

    seen, app = Seen(), FastAPI(openapi_url=None)

    @app.get("/")
    async def noted(token: VerifiedToken = Security(JWTBearer(verifier))) -> None:  # noqa: B008
        seen.note(token)

    if middleware:
        app.add_middleware(ASGIMiddleware, verifier=verifier)
    return seen.verdict(ask_status(app, "/", raw)[0])


def by_flask(verifier: Verifier, raw: str) -> Verdict:
    """The Flask extension."""
    import flask

    from skeldir_jwt_mw.flask import JWT

    seen, app = Seen(), flask.Flask("parity")
    JWT(app, verifier)

    @app.get("/")
    def noted() -> str:
        seen.note(flask.request.environ["skeldir_jwt"])
        return ""

    return seen.verdict(_status_of(app, raw))


def by_authlib_in_flask(verifier: Verifier, raw: str) -> Verdict:
    """Authlib's protector in Flask."""
    import flask
    from authlib.integrations.flask_oauth2 import ResourceProtector
    from authlib.integrations.flask_oauth2 import current_token as authlibs_token

    from skeldir_jwt_mw.authlib import BearerTokenValidator

    seen, app, require_oauth = Seen(), flask.Flask("parity"), ResourceProtector()
    require_oauth.register_token_validator(BearerTokenValidator(verifier))

    @app.get("/")
    @require_oauth()
    def noted() -> str:
        seen.note(authlibs_token._get_current_object())
        return ""

    return seen.verdict(_status_of(app, raw))


def _status_of(app: Any, raw: str) -> int:
    headers = {"Authorization": f"Bearer {raw}"}
    with app.test_client().get("/", headers=headers, base_url=URL) as response:
        status: int = response.status_code
    return status


def by_authlib_in_django(verifier: Verifier, raw: str) -> Verdict:
    """Authlib's protector in Django."""
    from authlib.integrations.django_oauth2 import ResourceProtector
    from django.http import HttpResponse

    from skeldir_jwt_mw.authlib import BearerTokenValidator

    seen, require_oauth = Seen(), ResourceProtector()
    require_oauth.register_token_validator(BearerTokenValidator(verifier))

    @require_oauth()
    def noted(request: Any) -> HttpResponse:
        seen.note(request.oauth_token)
        return HttpResponse()

    return seen.verdict(_asked_in_django(verifier, raw, noted, middleware=False, secure=True))


def by_django(verifier: Verifier, raw: str) -> Verdict:
    """The Django middleware."""
    from django.http import HttpResponse

    seen = Seen()

    def noted(request: Any) -> HttpResponse:
        seen.note(request.jwt)
        return HttpResponse()

    return seen.verdict(_asked_in_django(verifier, raw, noted, middleware=True))


def by_django_in_an_event_loop(verifier: Verifier, raw: str) -> Verdict:
    """The Django middleware under ASGI."""
    from django.http import HttpResponse

    seen = Seen()

    async def noted(request: Any) -> HttpResponse:
        seen.note(request.jwt)
        return HttpResponse()

    return seen.verdict(_asked_in_a_loop(verifier, raw, noted, middleware=True))


def by_rest_framework(verifier: Verifier, raw: str) -> Verdict:
    """REST framework's class alone."""
    return _by_rest_framework(verifier, raw, _asked_in_django, middleware=False)


def by_rest_framework_in_an_event_loop(verifier: Verifier, raw: str) -> Verdict:
    """The same under ASGI."""
    return _by_rest_framework(verifier, raw, _asked_in_a_loop, middleware=False)


def by_rest_framework_behind_the_middleware(verifier: Verifier, raw: str) -> Verdict:
    """REST framework's class, and the Django middleware before it."""
    return _by_rest_framework(verifier, raw, _asked_in_django, middleware=True)


def _by_rest_framework(verifier: Verifier, raw: str, asked: Any, *, middleware: bool) -> Verdict:
    from rest_framework.permissions import IsAuthenticated
    from rest_framework.response import Response
    from rest_framework.views import APIView

    from skeldir_jwt_mw.django.rest_framework import JWTAuthentication

    seen = Seen()

    class Noted(APIView):
        authentication_classes = (JWTAuthentication,)
        permission_classes = (IsAuthenticated,)

        def get(self, request: Any) -> Response:
            seen.note(request.auth)
            return Response()

    return seen.verdict(asked(verifier, raw, Noted.as_view(), middleware=middleware))


def by_channels(verifier: Verifier, raw: str) -> Verdict:
    """The middleware for Channels, of which an HTTP connection tells the status."""
    from django.test import override_settings

    from skeldir_jwt_mw.django.channels import JWTMiddleware

    seen = Seen()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.note(scope["skeldir_jwt"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with override_settings(SKELDIR_JWT={"VERIFIER": verifier}):
        return seen.verdict(ask_status(JWTMiddleware(app), "/", raw)[0])


def _asked_in_django(
    verifier: Verifier, raw: str, view: Any, *, middleware: bool, secure: bool = False
) -> int:
    from django.test import Client

    headers = {"Authorization": f"Bearer {raw}"}
    with _project(verifier, view, middleware=middleware):
        return Client().get("/", headers=headers, secure=secure).status_code


def _asked_in_a_loop(verifier: Verifier, raw: str, view: Any, *, middleware: bool) -> int:
    from django.test import AsyncClient

    async def ask() -> int:
        response = await AsyncClient().get("/", headers={"Authorization": f"Bearer {raw}"})
        return response.status_code

    with _project(verifier, view, middleware=middleware):
        return asyncio.run(ask())


def _project(verifier: Verifier, view: Any, *, middleware: bool) -> Any:
    from django.test import override_settings
    from django.urls import path

    return override_settings(
        ROOT_URLCONF=(path("", view),),
        MIDDLEWARE=["skeldir_jwt_mw.django.JWTMiddleware"] if middleware else [],
        SKELDIR_JWT={"VERIFIER": verifier},
    )


JUDGES: dict[str, Judge] = {"averify": by_averify, "asgi": by_asgi, "wsgi": by_wsgi}
if find_spec("fastapi") is not None:
    JUDGES |= {"fastapi": by_fastapi, "fastapi behind the middleware": by_fastapi_behind_the_middleware}
if find_spec("flask") is not None:
    JUDGES |= {"flask": by_flask, "authlib in flask": by_authlib_in_flask}
if find_spec("django") is not None:
    JUDGES |= {
        "django": by_django,
        "django in an event loop": by_django_in_an_event_loop,
        "authlib in django": by_authlib_in_django,
        "channels": by_channels,
    }
if find_spec("rest_framework") is not None:
    JUDGES |= {
        "rest framework": by_rest_framework,
        "rest framework in an event loop": by_rest_framework_in_an_event_loop,
        "rest framework behind the middleware": by_rest_framework_behind_the_middleware,
    }
