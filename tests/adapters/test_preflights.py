"""A forged CORS preflight gets to no view; a browser's gets its answer from CORS middleware outside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import flask
import pytest
from calling import collect
from corsheaders.defaults import default_headers
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.views import View
from flask_cors import CORS
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from skeldir_jwt_mw import Verifier, preflight
from skeldir_jwt_mw.asgi import JWTMiddleware as ASGIMiddleware
from skeldir_jwt_mw.django import jwt_exempt
from skeldir_jwt_mw.flask import JWT
from skeldir_jwt_mw.flask import jwt_exempt as flask_exempt
from skeldir_jwt_mw.wsgi import JWTMiddleware as WSGIMiddleware

ORIGIN = "https://app.example.com"
FORGED = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
OURS = "skeldir_jwt_mw.django.JWTMiddleware"
DJANGO_CORS = "corsheaders.middleware.CorsMiddleware"


class Ran(list[str]):
    """Which apps and views ran."""


@pytest.fixture
def ran() -> Ran:
    return Ran()


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_told", False)


def ask_asgi(app: Any, target: str = "/orders", **more: str) -> Any:
    headers = [(name.lower().encode(), value.encode()) for name, value in {**FORGED, **more}.items()]
    scope = {"type": "http", "method": "OPTIONS", "path": target, "root_path": "", "query_string": b""}
    return asyncio.run(collect(app, {**scope, "headers": headers}))


def starlette(ran: Ran, verifier: Verifier, *outside: Middleware, **options: Any) -> Starlette:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        ran.append("bare")
        await PlainTextResponse("data")(scope, receive, send)

    async def function(request: Request) -> Response:
        ran.append("function")
        return PlainTextResponse("data")

    class Endpoint(HTTPEndpoint):
        async def options(self, request: Request) -> Response:
            ran.append("class")
            return PlainTextResponse("data")

    return Starlette(
        routes=[
            Route("/function", function, methods=["OPTIONS"]),
            Route("/class", Endpoint),
            Mount("/bare", app=bare),
        ],
        middleware=[*outside, Middleware(ASGIMiddleware, verifier=verifier, **options)],
    )


@pytest.mark.parametrize("target", ["/function", "/class", "/bare/orders"])
def test_a_forged_preflight_gets_to_nothing_in_starlette(ran: Ran, verifier: Verifier, target: str) -> None:
    assert ask_asgi(starlette(ran, verifier), target).status == 401
    assert ran == []
    assert ask_asgi(starlette(ran, verifier, exempt_preflight=True), target).status == 200
    assert len(ran) == 1


def test_with_cors_outside_starlette_answers_a_browser(ran: Ran, verifier: Verifier) -> None:
    cors = Middleware(CORSMiddleware, allow_origins=[ORIGIN])
    answer = ask_asgi(starlette(ran, verifier, cors), "/function")
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, ORIGIN)
    assert ran == []


def test_a_forged_preflight_gets_to_no_wsgi_app(ran: Ran, verifier: Verifier) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        ran.append("app")
        start_response("200 OK", [])
        return [b"data"]

    started: list[str] = []
    environ: dict[str, Any] = {"REQUEST_METHOD": "OPTIONS", "PATH_INFO": "/"}
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in FORGED.items()}
    for options, status, runs in (({}, "401", 0), ({"exempt_preflight": True}, "200", 1)):
        guarded = WSGIMiddleware(app, verifier, **options)
        guarded(dict(environ), lambda status, *_: started.append(status))  # type: ignore[arg-type, misc, return-value, func-returns-value]
        assert started.pop()[:3] == status
        assert len(ran) == runs


# -- Django ------------------------------------------------------------------------------------------------


def django_routes(ran: Ran) -> tuple[Any, ...]:
    def function(request: Any) -> HttpResponse:
        ran.append("function")
        return HttpResponse("data")

    async def afunction(request: Any) -> HttpResponse:
        ran.append("afunction")
        return HttpResponse("data")

    class OfClass(View):
        def get(self, request: Any) -> HttpResponse:
            return HttpResponse("data")

        def options(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
            ran.append("class")
            return HttpResponse("data")

    return (
        path("function", function),
        path("afunction", afunction),
        path("class", OfClass.as_view()),
        path("exempt", jwt_exempt(function)),
    )


class Inner:
    """A middleware inside of ours that looks at every request."""

    ran = Ran()

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        self.ran.append(request.path_info)
        return self.get_response(request)


def ask_django(target: str, **more: str) -> Any:
    return Client().options(target, headers={**FORGED, **more})


def ask_django_in_a_loop(target: str, **more: str) -> Any:
    async def ask() -> Any:
        return await AsyncClient().options(target, headers={**FORGED, **more})

    return asyncio.run(ask())


def site(verifier: Verifier, ran: Ran, *middleware: str, **options: Any) -> override_settings:
    return override_settings(
        ROOT_URLCONF=django_routes(ran),
        MIDDLEWARE=list(middleware),
        SKELDIR_JWT={"VERIFIER": verifier, **options},
        CORS_ALLOWED_ORIGINS=[ORIGIN],
        CORS_ALLOW_HEADERS=default_headers,
    )


both = pytest.mark.parametrize("ask", [ask_django, ask_django_in_a_loop], ids=["wsgi", "asgi"])
INNER = "test_preflights.Inner"


@both
@pytest.mark.parametrize("target", ["/function", "/afunction", "/class"])
@pytest.mark.parametrize("let_in", [False, True])
def test_a_forged_preflight_gets_to_no_view_in_django(
    ran: Ran, verifier: Verifier, ask: Any, target: str, let_in: bool
) -> None:
    Inner.ran.clear()
    with site(verifier, ran, OURS, INNER, EXEMPT_PREFLIGHT=let_in):
        assert ask(target).status_code == 401
    assert ran == []
    assert len(Inner.ran) == let_in


@both
def test_a_preflight_that_is_let_in_is_no_way_round_a_bad_token_or_a_missing_view(
    ran: Ran, verifier: Verifier, ask: Any
) -> None:
    Inner.ran.clear()
    with site(verifier, ran, OURS, INNER, EXEMPT_PREFLIGHT=True):
        assert ask("/function", Authorization="Bearer a.b.c").status_code == 401
        assert ask("/function", Authorization="Bearer").status_code == 400
        assert ask("/nowhere").status_code == 401
        assert ask("/function", **{"X-HTTP-Method-Override": "DELETE"}).status_code == 401
    assert ran == Inner.ran == []


@both
def test_a_preflight_to_an_exempt_view_of_django_s_is_answered_by_it(
    ran: Ran, verifier: Verifier, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for let_in in (False, True):
        with site(verifier, ran, OURS, EXEMPT_PREFLIGHT=let_in):
            assert ask("/exempt").status_code == 200
    with site(verifier, ran, OURS, EXEMPT=["OPTIONS /function"]):
        assert ask("/function").status_code == 200
    assert ran == ["function"] * 3
    assert "preflight" not in caplog.text


@both
def test_django_cors_headers_answers_above_ours_and_below_only_where_preflights_are_let_in(
    ran: Ran, verifier: Verifier, ask: Any
) -> None:
    for order, let_in, status in (
        ((DJANGO_CORS, OURS), False, 200),
        ((OURS, DJANGO_CORS), False, 401),
        ((OURS, DJANGO_CORS), True, 200),
    ):
        with site(verifier, ran, *order, EXEMPT_PREFLIGHT=let_in):
            response = ask("/function")
            assert response.status_code == status
            assert response.get("Access-Control-Allow-Origin") == (ORIGIN if status == 200 else None)
    assert ran == []


# -- Flask -------------------------------------------------------------------------------------------------


def flask_app(ran: Ran, verifier: Verifier, **options: Any) -> flask.Flask:
    app = flask.Flask("preflights")
    JWT(app, verifier, **options)

    @app.get("/plain")
    def plain() -> str:
        ran.append("plain")
        return "data"

    @app.route("/own", methods=["GET", "OPTIONS"])
    def own() -> str:
        ran.append("own")
        return "data"

    @app.route("/exempt", methods=["GET", "OPTIONS"])
    @flask_exempt
    def exempt() -> str:
        ran.append("exempt")
        return "data"

    @app.errorhandler(404)
    def nowhere(_: Any) -> tuple[str, int]:
        ran.append("404")
        return "data", 404

    return app


def ask_flask(app: flask.Flask, target: str, **more: str) -> tuple[int, str | None]:
    with app.test_client().options(target, headers={**FORGED, **more}) as response:
        return response.status_code, response.headers.get("Access-Control-Allow-Origin")


@pytest.mark.parametrize("let_in", [False, True])
def test_a_forged_preflight_gets_to_no_view_in_flask(ran: Ran, verifier: Verifier, let_in: bool) -> None:
    app = flask_app(ran, verifier, exempt_preflight=let_in)
    assert ask_flask(app, "/own")[0] == 401
    assert ask_flask(app, "/nowhere")[0] == 401
    assert ask_flask(app, "/plain")[0] == (200 if let_in else 401)
    assert ask_flask(app, "/plain", Authorization="Bearer a.b.c")[0] == 401
    assert ask_flask(app, "/plain", **{"X-HTTP-Method-Override": "GET"})[0] == 401
    assert ran == []
    assert ask_flask(app, "/exempt")[0] == 200
    assert ran == ["exempt"]


def test_flask_cors_answers_a_browser_where_preflights_are_let_in(ran: Ran, verifier: Verifier) -> None:
    app = flask_app(ran, verifier, exempt_preflight=True)
    CORS(app, origins=[ORIGIN])
    assert ask_flask(app, "/plain") == (200, ORIGIN)
    assert ask_flask(app, "/own") == (401, ORIGIN)
    assert ran == []


# -- what the operator is told -----------------------------------------------------------------------------


def test_the_first_refused_preflight_is_told_with_what_to_do(
    ran: Ran, verifier: Verifier, caplog: pytest.LogCaptureFixture
) -> None:
    app = starlette(ran, verifier)
    with caplog.at_level(logging.WARNING, logger="skeldir_jwt_mw"):
        for _ in range(3):
            ask_asgi(app, "/function")
    [record] = caplog.records
    assert "CORS middleware belongs outside" in record.getMessage()
    assert "exempt_preflight=True" in record.getMessage()


@pytest.mark.parametrize("adapter", ["django", "flask"])
def test_every_adapter_tells_it(
    ran: Ran, verifier: Verifier, caplog: pytest.LogCaptureFixture, adapter: str
) -> None:
    with caplog.at_level(logging.WARNING, logger="skeldir_jwt_mw"):
        for _ in range(2):
            if adapter == "flask":
                ask_flask(flask_app(ran, verifier), "/plain")
            else:
                with site(verifier, ran, OURS):
                    ask_django("/function")
    assert [record.getMessage()[:24] for record in caplog.records if record.name == "skeldir_jwt_mw"] == [
        "refused a CORS preflight"
    ]


def test_a_bad_token_is_not_told_as_a_preflight(
    ran: Ran, verifier: Verifier, caplog: pytest.LogCaptureFixture
) -> None:
    ask_asgi(starlette(ran, verifier), "/function", Authorization="Bearer a.b.c")
    with site(verifier, ran, OURS):
        ask_django("/function", Authorization="Bearer a.b.c")
    assert "preflight" not in caplog.text


@pytest.mark.parametrize(
    "more",
    [
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-Method-Override": "DELETE"},
        {"X-HTTP-Method": "DELETE"},
        {"Content-Length": "2"},
        {"Transfer-Encoding": "chunked"},
    ],
)
def test_what_no_browser_sends_is_no_preflight(ran: Ran, verifier: Verifier, more: dict[str, str]) -> None:
    app = starlette(ran, verifier, exempt_preflight=True)
    assert ask_asgi(app, "/function", **more).status == 401
    assert ran == []
    assert ask_asgi(app, "/function", **{"Content-Length": "0"}).status == 200
