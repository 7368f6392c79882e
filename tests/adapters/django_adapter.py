"""Django's middleware under the request table: in process and behind servers, through both of its handlers.

A process of Django's has one set of settings, so each request is served under those of its case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import django
from calling import InProcessWSGI, Result, collect, scope_of
from django.conf import ENVIRONMENT_VARIABLE
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import override_settings
from django.urls import re_path
from echo import description
from identity import verifiers_of_environment
from live_servers import Gunicorn, Uvicorn
from request_table import CASES, Case

from skeldir_jwt_mw import Verifier

SETTINGS = {ENVIRONMENT_VARIABLE: "django_site.settings"}


def _description(request: Any) -> str:
    user, scopes = request.user, [] if request.jwt is None else request.jwt.scopes
    name = user.get_full_name() if user.is_authenticated else ""
    seen = [user.is_authenticated, name, user.get_username()]
    return description(request.method, request.path_info, request.jwt, user=seen, scopes=sorted(scopes))


def echo(request: Any) -> HttpResponse:
    """A view that tells what it saw, as the apps of `echo` do."""
    body = b"" if request.method == "HEAD" else b"ok"
    return HttpResponse(body, headers={"X-Seen": _description(request)})


async def aecho(request: Any) -> HttpResponse:
    """The same, for event loops."""
    return echo(request)


class Threads:
    """The routes of the handler for WSGI."""

    urlpatterns = (re_path(r"(?s:.*)", echo),)


class Loops:
    """The routes of the handler for ASGI."""

    urlpatterns = (re_path(r"(?s:.*)", aecho),)


def settings_of(case: Case, verifier: Verifier, routes: type) -> override_settings:
    """The settings of a project with the options of the case."""
    options = {name.upper(): value for name, value in case.options.items()}
    return override_settings(
        MIDDLEWARE=["skeldir_jwt_mw.django.JWTMiddleware"],
        SKELDIR_JWT={"VERIFIER": verifier, **options},
        ROOT_URLCONF=routes,
    )


class InProcessDjango(InProcessWSGI):
    """The handler for WSGI, called with the environ that a server makes."""

    lacks = frozenset({"apps"})

    def app_for(self, case: Case) -> Any:
        """The handler, under the settings of the case."""
        return wsgi_app(case, self._verifier_for(case))


class InProcessDjangoASGI(InProcessWSGI):
    """The handler for ASGI, called with the scope that a server makes."""

    lacks = frozenset({"apps"})

    def call(self, case: Case, tokens: Mapping[str, str]) -> Result:
        """Call the handler once, on a loop of its own."""
        app = asgi_app(case, self._verifier_for(case))

        async def served(scope: Any, receive: Any, send: Any) -> None:
            async def lowered(message: Any) -> None:
                # Django leaves names as they are written, though ASGI wants them in lower case.
                lines = [(name.lower(), value) for name, value in message.get("headers", ())]
                await send({**message, "headers": lines} if lines else message)

            await app(scope, receive, lowered)

        return asyncio.run(collect(served, scope_of(case, tokens)))


def wsgi_app(case: Case, verifier: Verifier) -> Any:
    """A WSGI app that serves under the settings of the case."""
    settings = settings_of(case, verifier, Threads)
    with settings:
        handler = WSGIHandler()

    def serve(environ: dict[str, Any], start_response: Any) -> Any:
        with settings:
            return handler(environ, start_response)

    return serve


def asgi_app(case: Case, verifier: Verifier) -> Any:
    """An ASGI app that serves under the settings of the case."""
    settings = settings_of(case, verifier, Loops)
    with settings:
        handler = ASGIHandler()

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        with settings:
            await handler(scope, receive, send)

    return serve


class GunicornDjango(Gunicorn):
    """The handlers for WSGI behind a server; a request names its case in `X-Case`."""

    lacks = frozenset({"apps"})

    command = tuple(part.replace("live_app:wsgi", "django_adapter:serving()") for part in Gunicorn.command)


class UvicornDjango(Uvicorn):
    """The handlers for ASGI behind a server."""

    lacks = frozenset({"apps"})

    command = (
        *(part.replace("live_app:asgi", "django_adapter:aserving") for part in Uvicorn.command),
        "--factory",
    )


ADAPTERS: dict[str, Any] = {
    "django": lambda verifiers, _: nullcontext(InProcessDjango(verifiers.for_case)),
    "django asgi": lambda verifiers, _: nullcontext(InProcessDjangoASGI(verifiers.for_case)),
    "django behind gunicorn": lambda _, signer: GunicornDjango({**signer.environ, **SETTINGS}),
    "django behind uvicorn": lambda _, signer: UvicornDjango({**signer.environ, **SETTINGS}),
}


def serving() -> Any:
    """What gunicorn runs."""
    served = _served(wsgi_app)

    def serve(environ: dict[str, Any], start_response: Any) -> Any:
        return served[int(environ["HTTP_X_CASE"])](environ, start_response)

    return serve


def aserving() -> Any:
    """What uvicorn runs."""
    served = _served(asgi_app)
    one_at_a_time = asyncio.Lock()  # Django goes on for a while after it has sent the response

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        async with one_at_a_time:
            await served[int(dict(scope["headers"])[b"x-case"])](scope, receive, send)

    return serve


def _served(kind: Callable[[Case, Verifier], Any]) -> list[Any]:
    django.setup()
    verifiers = verifiers_of_environment()
    return [kind(case, verifiers.for_case(case)) for case in CASES]
