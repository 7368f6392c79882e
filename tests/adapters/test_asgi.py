"""What is ASGI's own: the scope, Starlette's shape, lifespan, and where the path begins."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest
from asking import ask_status
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from skeldir_jwt_mw import Verifier
from skeldir_jwt_mw.asgi import JWTMiddleware


async def whoami(request: Request) -> Response:
    user = request.user
    return JSONResponse(
        [user.is_authenticated, user.display_name, user.identity, sorted(request.auth.scopes)]
    )


@requires("orders:read")
async def orders(request: Request) -> Response:
    return JSONResponse("orders")


@requires(["orders:read", "orders:delete"])
async def deletion(request: Request) -> Response:
    return JSONResponse("deleted")


def starlette_app(verifier: Verifier, **options: Any) -> Starlette:
    routes = [Route("/", whoami), Route("/orders", orders), Route("/delete", deletion)]
    app = Starlette(routes=[*routes, Mount("/mounted", routes=routes)])
    app.add_middleware(JWTMiddleware, verifier=verifier, **options)
    return app


def test_starlettes_request_knows_the_user_and_the_scopes(verifier: Verifier, tokens: dict[str, str]) -> None:
    app = starlette_app(verifier, required=False)
    assert ask_status(app, "/", tokens["valid"])[1] == [
        True,
        "user-1",
        "user-1",
        ["orders:read", "orders:write"],
    ]
    assert ask_status(app, "/", tokens["nobody"])[1] == [True, "", "", ["orders:read", "orders:write"]]
    assert ask_status(app, "/", None)[1] == [False, "", "", []]


def test_requires_asks_for_all_scopes_and_answers_403_itself(
    verifier: Verifier, tokens: dict[str, str]
) -> None:
    app = starlette_app(verifier, required=False)
    assert ask_status(app, "/orders", tokens["valid"]) == (200, "orders")
    assert ask_status(app, "/delete", tokens["valid"])[0] == 403
    assert ask_status(app, "/orders", None)[0] == 403


def test_an_exempt_request_has_an_anonymous_user(verifier: Verifier, tokens: dict[str, str]) -> None:
    app = starlette_app(verifier, exempt=("/", "/mounted"))
    assert ask_status(app, "/", tokens["valid"])[1] == [False, "", "", []]


@pytest.mark.parametrize(
    ("path", "root_path", "status"),
    [
        ("/orders", "", 200),
        ("/orders", "/api", 200),  # a proxy has stripped the prefix
        ("/api/orders", "/api", 200),  # the server has put it in front, or nobody has stripped it
        ("/api/orders", "", 401),
        ("/apiorders", "/api", 401),
        ("/api", "/api", 401),
        ("/orders", "/orders", 401),
        ("/api/api/orders", "/api", 401),
        ("/orders/orders", "/orders", 200),
        ("/api/x/../orders", "/api", 401),
        ("/api//orders", "/api", 401),
        ("/orders", "/", 200),
        ("/orders", "/ord", 401),  # in front, and yet no prefix of segments: some frameworks cut it off
        ("/orders", "/api/orders", 200),
    ],
)
def test_exempt_paths_are_matched_where_starlette_routes(
    verifier: Verifier, path: str, root_path: str, status: int
) -> None:
    async def reached(request: Request) -> Response:
        return JSONResponse("reached")

    app = Starlette(routes=[Route("/orders", reached)])
    app.add_middleware(JWTMiddleware, verifier=verifier, exempt=("/orders",))
    assert ask_status(app, path, None, root_path=root_path)[0] == status


def cut_wherever_it_stands(scope: Any) -> str:
    """The path as Litestar routes on it."""
    path: str = scope["path"]
    root = scope.get("root_path", "")
    return path.split(root, maxsplit=1)[-1] if root else path


@pytest.mark.parametrize("root_path", ["/api", "/public", "/a", "/public/api", "c", "/"])
@pytest.mark.parametrize(
    "path",
    [
        "/public/api/admin",
        "/public/apiadmin",
        "/public/a",
        "/api/public/a",
        "/api/public/api/admin",
        "/apipublic/admin",
        "/publicadmin",
        "/public/public/admin",
        "/admin",
        "/public/",
    ],
)
def test_a_path_that_a_framework_may_cut_elsewhere_than_we_is_never_exempt(
    verifier: Verifier, path: str, root_path: str
) -> None:
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(cut_wherever_it_stands(scope))
        await JSONResponse("reached")(scope, receive, send)

    guarded = JWTMiddleware(app, verifier, exempt=("/public/",))
    status, _ = ask_status(guarded, path, None, root_path=root_path)
    assert status == (200 if reached else 401)
    if root_path != "/":
        assert all(seen.startswith("/public/") for seen in reached)


def test_a_path_below_the_root_is_exempt_whatever_else_is_in_it(verifier: Verifier) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await JSONResponse("reached")(scope, receive, send)

    guarded = JWTMiddleware(app, verifier, exempt=("/public/",))
    for path, root_path in (("/api/public/a", "/api"), ("/api/public/api/a", "/api"), ("/public/b", "/api")):
        assert ask_status(guarded, path, None, root_path=root_path)[0] == 200


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        ({"type": "webtransport", "path": "/", "headers": []}, "type 'webtransport' is not served"),
        ({"type": "channel", "channel": "a"}, "http, websocket and lifespan are"),
        ({"type": "HTTP", "path": "/", "headers": []}, "type 'HTTP' is not served"),
        ({"type": b"http", "path": "/", "headers": []}, "is not served"),
        ({"type": None}, "type None is not served"),
        ({}, "type None is not served"),
        ({"type": "x" * 1000}, "is not served"),
        ({"type": "http", "method": "GET", "headers": []}, "'http' is not served without its path"),
        ({"type": "websocket", "headers": []}, "'websocket' is not served without its path"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"required": False}, {"exempt": ("/",)}])
def test_a_scope_of_an_unknown_kind_is_refused_by_name(
    verifier: Verifier, scope: dict[str, Any], text: str, options: dict[str, Any]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match=text) as refused:
        asyncio.run(JWTMiddleware(app, verifier, **options)(scope, None, None))  # type: ignore[arg-type]
    assert len(str(refused.value)) < 200


def test_a_scope_without_headers_carries_no_token(verifier: Verifier) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "path": "/orders"}
    asyncio.run(JWTMiddleware(app, verifier)(scope, None, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 401


def test_inside_a_mount_paths_begin_at_the_mount(verifier: Verifier) -> None:
    async def reached(request: Request) -> Response:
        return JSONResponse("reached")

    inner = Starlette(routes=[Route("/health", reached), Route("/orders", reached)])
    inner.add_middleware(JWTMiddleware, verifier=verifier, exempt=("/health",))
    app = Starlette(routes=[Mount("/v1", app=inner)])
    assert ask_status(app, "/v1/health", None)[0] == 200
    assert ask_status(app, "/v1/orders", None)[0] == 401
    assert ask_status(app, "/api/v1/health", None, root_path="/api")[0] == 200


def test_an_anonymous_request_keeps_the_user_of_an_outer_middleware(
    verifier: Verifier, tokens: dict[str, str]
) -> None:
    seen: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["user"])

    guarded = JWTMiddleware(app, verifier, required=False)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await guarded({**scope, "user": "session", "skeldir_jwt": "left over"}, receive, send)

    ask_status(outer, "/", None)
    ask_status(outer, "/", tokens["valid"])
    assert seen[0] == "session"
    assert seen[1] != "session"


def test_an_anonymous_request_has_no_token_whatever_stood_in_the_scope(verifier: Verifier) -> None:
    seen: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["skeldir_jwt"])

    guarded = JWTMiddleware(app, verifier, required=False)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "skeldir_jwt": "left over"}
    asyncio.run(guarded(scope, None, None))  # type: ignore[arg-type]
    assert seen == [None]
    assert scope["skeldir_jwt"] == "left over"


def test_lifespan_goes_to_the_app_untouched(verifier: Verifier) -> None:
    calls: list[tuple[Any, Any, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append((scope, receive, send))

    async def receive() -> dict[str, Any]:
        raise AssertionError("the middleware received something")

    async def send(message: Any) -> None:
        raise AssertionError("the middleware sent something")

    scope = {"type": "lifespan"}
    asyncio.run(JWTMiddleware(app, verifier)(scope, receive, send))
    assert len(calls) == 1
    assert all(given is sent for given, sent in zip(calls[0], (scope, receive, send), strict=True))


def test_a_cancelled_request_never_reaches_the_app(tokens: dict[str, str]) -> None:
    """A stand-in that waits, because only a verifier without keys waits, and then not for a fixed time."""
    called: list[object] = []

    class Waiting:
        def verify(self, raw: object, scopes: object = ()) -> Any:
            raise AssertionError

        async def averify(self, raw: object, scopes: object = ()) -> Any:
            await asyncio.Event().wait()

        def status(self) -> dict[str, Any]:
            return {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope)

    async def main() -> None:
        headers = [(b"authorization", f"Bearer {tokens['valid']}".encode())]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
        task = asyncio.ensure_future(JWTMiddleware(app, Waiting())(scope, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert called == []


def test_no_framework_is_needed() -> None:
    code = """
import sys
sys.modules["starlette"] = None  # an import of it fails
import skeldir_jwt_mw.asgi, skeldir_jwt_mw.wsgi
print(sorted({name.partition(".")[0] for name in sys.modules} & {"fastapi", "django", "flask"}))
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
