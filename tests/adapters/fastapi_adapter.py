"""FastAPI's dependency in the request table, called in process and behind uvicorn.

It stands on a route, so it knows no exempt paths and no preflights, and the metadata are not its to serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from typing import Any

from calling import Result, collect, scope_of
from echo import description
from fastapi import Depends, FastAPI, Request, Response, WebSocket
from identity import verifiers_of_environment
from live_servers import Uvicorn
from request_table import CASES, WEBSOCKETS, Case

from skeldir_jwt_mw import VerifiedToken, Verifier
from skeldir_jwt_mw.fastapi import JWTBearer

LACKS = frozenset({"exempt", "exempt_preflight", "metadata", "views"})
METHODS = ["GET", "HEAD", "POST", "OPTIONS"]


def fastapi_echo(verifier: Verifier, options: Mapping[str, Any]) -> FastAPI:
    """An app that tells what it saw, as those of `echo` do, at every path."""
    app = FastAPI(openapi_url=None)
    bearer = JWTBearer(verifier, **options)

    @app.api_route("/{path:path}", methods=METHODS)
    async def echo(request: Request, token: VerifiedToken | None = Depends(bearer)) -> Response:
        seen = description(request.method, request.scope["path"], token)
        return Response(b"" if request.method == "HEAD" else b"ok", headers={"X-Seen": seen})

    @app.websocket("/{path:path}")
    async def websocket_echo(websocket: WebSocket, token: VerifiedToken | None = Depends(bearer)) -> None:
        await websocket.accept()
        async for _ in websocket.iter_text():
            seen = description("WEBSOCKET", websocket.scope["path"], token, user=token is not None)
            await websocket.send_text(seen)

    return app


class InProcessFastAPI:
    """The dependency, called with the scope that a server makes."""

    over_sockets = everything = False
    lacks = LACKS
    wraps: str | None = "detail"

    def __init__(self, verifier_for: Callable[[Case], Verifier]) -> None:
        self._verifier_for = verifier_for

    def call(self, case: Case, tokens: Mapping[str, str]) -> Result:
        """Call the app once, on a loop of its own."""
        app = fastapi_echo(self._verifier_for(case), case.options)
        result = asyncio.run(collect(app, scope_of(case, tokens)))
        # FastAPI leaves it to the server that HEAD has no body.
        return replace(result, body=b"") if case.method == "HEAD" else result


class UvicornFastAPI(Uvicorn):
    """The dependency behind uvicorn."""

    lacks = LACKS
    wraps = "detail"
    command = tuple("fastapi_adapter:serve" if part == "live_app:asgi" else part for part in Uvicorn.command)


ADAPTERS: dict[str, Any] = {
    "fastapi": lambda verifiers, _: nullcontext(InProcessFastAPI(verifiers.for_case)),
    "uvicorn-fastapi": lambda _, signer: UvicornFastAPI(signer.environ),
}


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """What uvicorn runs: a request names its case in `X-Case`, as with `live_app`."""
    if scope["type"] == "lifespan":
        return
    headers = dict(scope["headers"])
    if b"x-no-denial" in headers:
        scope = {**scope, "extensions": {}}
    app = _app_of(scope["type"] == "websocket", int(headers[b"x-case"]))
    await app(scope, receive, send)


_verifiers = cache(verifiers_of_environment)


@cache
def _app_of(websocket: bool, number: int) -> FastAPI:
    case = (WEBSOCKETS if websocket else CASES)[number]
    return fastapi_echo(_verifiers().for_case(case), case.options)
