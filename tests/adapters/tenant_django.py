"""The service of `tenant_app` on Django, for threads and for event loops."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from tenant_app import OPEN, observe, observe_in_thread, pieces, pieces_in_thread, record, told, verifier

settings.configure(
    SECRET_KEY="of no use",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["skeldir_jwt_mw.django.JWTMiddleware"],
    SKELDIR_JWT={"VERIFIER": verifier, "EXEMPT": OPEN},
)
django.setup()


async def whose(request: HttpRequest) -> StreamingHttpResponse:
    """On an event loop."""

    async def body() -> Any:
        async for piece in pieces(await observe()):
            yield piece
        record("background", request.jwt.tenant)  # type: ignore[attr-defined]

    return StreamingHttpResponse(body())


def whose_in_thread(_: HttpRequest) -> StreamingHttpResponse:
    """In a thread."""
    return StreamingHttpResponse(pieces_in_thread(observe_in_thread()))


def tell(request: HttpRequest) -> HttpResponse:
    """Tell what was seen after the answers."""
    return HttpResponse(told(request.path))


async def tell_async(request: HttpRequest) -> HttpResponse:
    """The same, on an event loop."""
    return HttpResponse(told(request.path))


urlpatterns: list[Any] = []


def in_threads() -> Any:
    """The WSGI app."""
    urlpatterns[:] = [path("whose", whose_in_thread), *(path(name[1:], tell) for name in OPEN)]
    return get_wsgi_application()


def on_event_loops() -> Any:
    """The ASGI app."""
    urlpatterns[:] = [path("whose", whose), *(path(name[1:], tell_async) for name in OPEN)]
    return get_asgi_application()
