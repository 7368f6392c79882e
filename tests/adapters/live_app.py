"""What the servers run: a request names its case in `X-Case` and meets an adapter with the options of it."""

from __future__ import annotations

from typing import Any

from echo import asgi_echo, websocket_echo, wsgi_echo
from identity import verifiers_of_environment
from request_table import CASES, WEBSOCKETS

from skeldir_jwt_mw.asgi import JWTMiddleware as ASGIMiddleware
from skeldir_jwt_mw.wsgi import JWTMiddleware as WSGIMiddleware

_verifiers = verifiers_of_environment()
_asgi = [ASGIMiddleware(asgi_echo, _verifiers.for_case(case), **case.options) for case in CASES]
_websockets = [
    ASGIMiddleware(websocket_echo, _verifiers.for_case(case), **case.options) for case in WEBSOCKETS
]
_wsgi = [WSGIMiddleware(wsgi_echo, _verifiers.for_case(case), **case.options) for case in CASES]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI adapters. `X-No-Denial` makes the server one that has no denial response for WebSockets."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = dict(scope["headers"])
    apps = _websockets if scope["type"] == "websocket" else _asgi
    if b"x-no-denial" in headers:
        scope = {**scope, "extensions": {}}
    await apps[int(headers[b"x-case"])](scope, receive, send)


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    """The WSGI adapters."""
    return _wsgi[int(environ["HTTP_X_CASE"])](environ, start_response)


def wsgi_at_once(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The same for granian, which loses the headers of an app that is a generator."""
    answer = wsgi(environ, start_response)
    try:
        return list(answer)
    finally:
        getattr(answer, "close", lambda: None)()
