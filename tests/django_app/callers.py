"""Callers of the project: a provider of tokens, and requests through both of Django's handlers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from skeldir_jwt_mw import Issuer, Verifier
from skeldir_jwt_mw.sources import Source, StaticSource
from skeldir_jwt_mw.testing import SigningKey, mint

ISSUER = "https://login.example.com/"
KEY = SigningKey.generate("ES256", kid="django-tests")
STRANGER = SigningKey.generate("ES256", kid="stranger")
JWKS = {"keys": [KEY.jwk()]}

OURS = "skeldir_jwt_mw.django.JWTMiddleware"
SESSIONS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
USER = {"jwt": "user-1", "current": "user-1", "user": "user-1", "kind": "TokenUser", "authenticated": True}
NOBODY = {"jwt": None, "current": None, "user": "", "kind": "AnonymousUser", "authenticated": False}


Get = Callable[..., Any]


def token(*, key: SigningKey = KEY, **claims: Any) -> str:
    """A token that is right but for what is given; a claim of None is left out."""
    now = int(time.time())
    payload = {"iss": ISSUER, "aud": "orders-api", "sub": "user-1", "iat": now, "exp": now + 3600, **claims}
    return mint(key, {name: value for name, value in payload.items() if value is not None})


def new_verifier(source: Source | None = None, **options: Any) -> Verifier:
    """A verifier of those tokens."""
    source = source or StaticSource(JWKS)
    return Verifier(Issuer(ISSUER, audience="orders-api", source=source, **options))


def get_wsgi(path: str, raw: str | None = None, *, method: str = "GET", **headers: str) -> Any:
    """The response to one request through the handler for WSGI; `parts` is its body as it was streamed."""
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    client.cookies.load(headers.pop("Cookie", ""))
    response: Any = client.generic(method, path, headers=_headers(raw, headers))
    response.parts = list(response)
    return response


def get_asgi(path: str, raw: str | None = None, *, method: str = "GET", **headers: str) -> Any:
    """The response to one request through the handler for ASGI; `parts` is its body as it was streamed."""

    async def ask() -> Any:
        client = AsyncClient(raise_request_exception=False, enforce_csrf_checks=True)
        client.cookies.load(headers.pop("Cookie", ""))
        response: Any = await client.generic(method, path, headers=_headers(raw, headers))
        response.parts = [part async for part in response] if response.streaming else list(response)
        return response

    return async_to_sync(ask)()  # which runs what is not async here, where the test has its transaction


def _headers(raw: str | None, more: dict[str, str]) -> dict[str, str]:
    given = {name.replace("_", "-"): value for name, value in more.items()}
    return given if raw is None else {"Authorization": f"Bearer {raw}", **given}


def seen_in(response: Any) -> dict[str, Any]:
    """What the view saw."""
    assert response.status_code == 200, response.content
    return dict(response.json())
