"""The apps of middleware.py, each with a route that answers two bytes, behind one contestant or another."""

# FastAPI reads the annotations of functions in functions: no __future__ import.

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import django
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test.utils import override_settings
from django.urls import path
from django.utils.decorators import sync_and_async_middleware
from fastapi import Depends, FastAPI, HTTPException, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from middleware import AUTHENTICATION, BARE, EMPTY, FREE, OURS, PYJWT, REMEMBERED, VERIFY, Batch, Scene
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from skeldir_jwt_mw import VerifiedToken
from skeldir_jwt_mw.asgi import JWTMiddleware
from skeldir_jwt_mw.fastapi import JWTBearer


def starlette(scene: Scene) -> dict[str, Batch]:
    """Starlette."""

    async def orders(_: Request) -> Response:
        return Response(b"ok")

    class Passing:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> Any:
            scheme, _, token = conn.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                return None
            try:
                claims = scene.with_pyjwt(token)
            except Exception as error:
                raise AuthenticationError("invalid token") from error
            return AuthCredentials(claims["scope"].split()), SimpleUser(claims["sub"])

    def app(*middleware: Middleware) -> Batch:
        return scene.asgi(Starlette(routes=[Route("/orders", orders)], middleware=middleware))

    return {
        BARE: app(),
        VERIFY: scene.verify,
        "an ASGI middleware that does nothing": app(Middleware(Passing)),
        OURS: app(Middleware(JWTMiddleware, verifier=scene.verifier)),
        REMEMBERED: app(Middleware(JWTMiddleware, verifier=scene.remembering)),
        FREE: app(Middleware(JWTMiddleware, verifier=scene.free)),
        AUTHENTICATION: app(Middleware(AuthenticationMiddleware, backend=Backend())),
    }


def fastapi(scene: Scene) -> dict[str, Batch]:
    """FastAPI."""
    bearer, header = JWTBearer(scene.verifier), HTTPBearer()

    async def claims(credentials: Annotated[HTTPAuthorizationCredentials, Depends(header)]) -> dict[str, Any]:
        try:
            return scene.with_pyjwt(credentials.credentials)
        except Exception as error:
            raise HTTPException(401) from error

    async def nothing() -> AsyncIterator[None]:
        yield

    async def value() -> None:
        return None

    bare, plain, empty, ours, behind, theirs = apps = [FastAPI() for _ in range(6)]

    @bare.get("/orders")
    async def orders() -> Response:
        return Response(b"ok")

    @plain.get("/orders")
    async def with_value(_: Annotated[None, Depends(value)]) -> Response:
        return Response(b"ok")

    @empty.get("/orders")
    async def with_nothing(_: Annotated[None, Depends(nothing)]) -> Response:
        return Response(b"ok")

    @ours.get("/orders")
    @behind.get("/orders")
    async def with_token(
        _: Annotated[VerifiedToken, Security(bearer, scopes=["orders:read"])],
    ) -> Response:
        return Response(b"ok")

    @theirs.get("/orders")
    async def with_claims(_: Annotated[dict[str, Any], Depends(claims)]) -> Response:
        return Response(b"ok")

    behind.add_middleware(JWTMiddleware, verifier=scene.verifier)
    names = (
        BARE,
        "a dependency that does nothing",
        "a dependency with yield that does nothing",
        OURS,
        "skeldir_jwt_mw, behind its middleware",
        "HTTPBearer + PyJWKClient",
    )
    return {**dict(zip(names, map(scene.asgi, apps), strict=True)), VERIFY: scene.verify}


# -- Django ------------------------------------------------------------------------------------------------


def orders(_: HttpRequest) -> HttpResponse:
    """The view, for WSGI."""
    return HttpResponse(b"ok")


async def async_orders(_: HttpRequest) -> HttpResponse:
    """The view, for ASGI."""
    return HttpResponse(b"ok")


urlpatterns = [path("orders", orders), path("async-orders", async_orders)]


@sync_and_async_middleware
def empty_middleware(get_response: Any) -> Any:
    """Does nothing, in either mode."""
    if iscoroutinefunction(get_response):

        async def passing(request: HttpRequest) -> Any:
            return await get_response(request)

    else:

        def passing(request: HttpRequest) -> Any:
            return get_response(request)

    return passing


def sync_middleware(get_response: Any) -> Any:
    """Does nothing, in a thread where the handler is async."""

    def passing(request: HttpRequest) -> Any:
        return get_response(request)

    return passing


@sync_and_async_middleware
def pyjwt_middleware(get_response: Any) -> Any:
    """What one writes with PyJWT."""
    with_pyjwt = settings.WITH_PYJWT

    def refused(request: HttpRequest) -> HttpResponse | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return HttpResponse(status=401)
        try:
            request.jwt = with_pyjwt(token)  # type: ignore[attr-defined]
        except Exception:
            return HttpResponse(status=401)
        return None

    if iscoroutinefunction(get_response):

        async def guarded(request: HttpRequest) -> Any:
            return refused(request) or await get_response(request)

    else:

        def guarded(request: HttpRequest) -> Any:
            return refused(request) or get_response(request)

    return guarded


def set_up_django(scene: Scene) -> None:
    """Configure Django once for both of its groups."""
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF=__name__,
            SECRET_KEY="a key that guards nothing",
            INSTALLED_APPS=["skeldir_jwt_mw.django"],
            SKELDIR_JWT={"VERIFIER": scene.verifier},
            LOGGING_CONFIG=None,
            WITH_PYJWT=scene.with_pyjwt,
        )
        django.setup()


def ours_in_django(scene: Scene, app: Callable[..., Batch]) -> dict[str, Batch]:
    """Our middleware, with each of the verifiers."""
    from skeldir_jwt_mw.django import conf  # which asks for settings that are configured by now

    batch = app("skeldir_jwt_mw.django.JWTMiddleware")

    def cell(verifier: Any) -> Batch:
        def serve() -> float:
            with override_settings(SKELDIR_JWT={"VERIFIER": verifier}):
                conf.guard()  # made here, because the middleware would make it for its first request
                return batch()

        return serve

    return {OURS: cell(scene.verifier), FREE: cell(scene.free), REMEMBERED: cell(scene.remembering)}


def django_wsgi(scene: Scene) -> dict[str, Batch]:
    """Django under WSGI."""
    set_up_django(scene)

    def app(*middleware: str) -> Batch:
        with override_settings(MIDDLEWARE=middleware):
            return scene.wsgi(WSGIHandler())

    return {
        BARE: app(),
        VERIFY: scene.verify,
        EMPTY: app(f"{__name__}.empty_middleware"),
        **ours_in_django(scene, app),
        PYJWT: app(f"{__name__}.pyjwt_middleware"),
    }


def django_asgi(scene: Scene) -> dict[str, Batch]:
    """Django under ASGI."""
    set_up_django(scene)

    def app(*middleware: str) -> Batch:
        with override_settings(MIDDLEWARE=middleware):
            return scene.asgi(ASGIHandler(), "/async-orders")

    return {
        BARE: app(),
        VERIFY: scene.verify,
        EMPTY: app(f"{__name__}.empty_middleware"),
        **ours_in_django(scene, app),
        "a middleware that is sync only": app(f"{__name__}.sync_middleware"),
        PYJWT: app(f"{__name__}.pyjwt_middleware"),
    }


GROUPS = {
    "starlette": starlette,
    "fastapi": fastapi,
    "django-wsgi": django_wsgi,
    "django-asgi": django_asgi,
}
