"""A Starlette app behind the middleware, as its users build them; uvicorn runs it for test_starlette.py."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

from identity import verifiers_of_environment
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    SimpleUser,
    requires,
)
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from skeldir_jwt_mw import current_token
from skeldir_jwt_mw.asgi import JWTMiddleware

ORIGIN = "https://app.example.com"

verifier = verifiers_of_environment().get()
guarded = Middleware(JWTMiddleware, verifier=verifier)
optional = Middleware(JWTMiddleware, verifier=verifier, required=False)
cors = Middleware(CORSMiddleware, allow_origins=[ORIGIN], expose_headers=["WWW-Authenticate"])


async def whoami(request: Request) -> Response:
    token = current_token()
    user = request.user
    name, subject = user.display_name, None if token is None else token.subject
    return JSONResponse([user.is_authenticated, name, sorted(request.auth.scopes), subject])


# -- @requires ---------------------------------------------------------------------------------------------


@requires("orders:read")
async def reading(request: Request) -> Response:
    return JSONResponse(request.user.display_name)


@requires(["orders:read", "orders:delete"], status_code=404)
def deleting(request: Request) -> Response:
    return JSONResponse(request.user.display_name)


@requires("orders:delete", redirect="login")
async def redirecting(request: Request) -> Response:
    return JSONResponse(request.user.display_name)


class Orders(HTTPEndpoint):
    @requires("orders:read")
    async def get(self, request: Request) -> Response:
        return JSONResponse(request.user.display_name)

    @requires("orders:delete")
    def delete(self, request: Request) -> Response:
        return JSONResponse(request.user.display_name)


@requires("orders:read")
async def updates(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(websocket.user.display_name)
    await websocket.close()


@requires("orders:delete")
async def deletions(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


class Chat(WebSocketEndpoint):
    encoding = "text"

    @requires("orders:read")
    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()

    @requires("orders:read")
    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        token = current_token()
        assert token is not None
        await websocket.send_text(f"{data} {websocket.user.display_name} {token.subject}")


# -- bodies ------------------------------------------------------------------------------------------------

go_on = asyncio.Event()
gone: list[str] = []


async def upload(request: Request) -> Response:
    digest, length, parts = hashlib.sha256(), 0, 0
    async for part in request.stream():
        digest.update(part)
        length += len(part)
        parts += 1
    return JSONResponse({"sha256": digest.hexdigest(), "length": length, "in parts": parts > 1})


async def events(request: Request) -> Response:
    """Server-sent events, each after the reader has asked for it by another request."""

    async def told() -> AsyncIterator[str]:
        go_on.clear()
        try:
            for number in range(3):
                token = current_token()
                yield f"data: {number} {None if token is None else token.subject}\n\n"
                await go_on.wait()
                go_on.clear()
        finally:
            token = current_token()
            gone.append("" if token is None else token.subject)

    return StreamingResponse(told(), media_type="text/event-stream")


async def next_event(request: Request) -> Response:
    go_on.set()
    return Response()


async def ended(request: Request) -> Response:
    return JSONResponse(gone)


async def failing(request: Request) -> Response:
    raise LookupError(request.user.display_name)


async def failed(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error!r} {request.user.display_name}", status_code=418)


# -- beside other middleware -------------------------------------------------------------------------------


class Sessions(AuthenticationBackend):
    """Whoever sends `X-Session` is that user."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.headers.get("x-session")
        return None if name is None else (AuthCredentials(["session"]), SimpleUser(name))


sessions = Middleware(AuthenticationMiddleware, backend=Sessions())


async def stamp(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["X-Stamped"] = "yes"
    return response


stamped = Middleware(BaseHTTPMiddleware, dispatch=stamp)


async def send_who(scope: Any, receive: Any, send: Any) -> None:
    """An app without any framework."""
    body = json.dumps([scope["path"], scope["root_path"], scope["user"].display_name]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def site(path: str, *middleware: Middleware) -> BaseRoute:
    """An app of its own below `path`, whose middleware comes in the order given, outermost first."""
    routes = [Route("/whoami", whoami), Route("/events", events), Route("/upload", upload, methods=["POST"])]
    return Mount(path, app=Starlette(routes=routes, middleware=middleware))


letting_preflights_in = Middleware(JWTMiddleware, verifier=verifier, exempt_preflight=True)
exempting = Middleware(JWTMiddleware, verifier=verifier, exempt=("/whoami",))

main = Starlette(
    routes=[
        Route("/whoami", whoami),
        Route("/reading", reading),
        Route("/deleting", deleting),
        Route("/redirecting", redirecting),
        Route("/login", whoami, name="login"),
        Route("/orders", Orders),
        WebSocketRoute("/updates", updates),
        WebSocketRoute("/deletions", deletions),
        WebSocketRoute("/chat", Chat),
        Route("/upload", upload, methods=["POST"]),
        Route("/events", events),
        Route("/next", next_event, methods=["POST"]),
        Route("/ended", ended),
        Route("/failing", failing),
        Mount("/bare", app=send_who),
    ],
    middleware=[optional],
    exception_handlers={LookupError: failed},
)

app = Starlette(
    routes=[
        site("/guarded", guarded),
        site("/exempting", exempting),
        site("/cors-outside", cors, guarded),
        site("/cors-inside", guarded, cors),
        site("/cors-inside-let-in", letting_preflights_in, cors),
        site("/sessions-outside", sessions, optional),
        site("/sessions-inside", optional, sessions),
        site("/stamped-outside", stamped, guarded),
        site("/stamped-inside", guarded, stamped),
        Mount("/", app=main),
    ]
)
