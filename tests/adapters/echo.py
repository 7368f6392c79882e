"""The app behind every adapter of the table: it tells what it saw in the header `X-Seen`, for HEAD too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from skeldir_jwt_mw import VerifiedToken, current_token


def description(method: str, path: str, token: VerifiedToken | None, **more: Any) -> str:
    """What the app saw, as JSON."""
    current = current_token()
    seen = {
        "method": method,
        "path": path,
        "subject": None if token is None else token.subject,
        "tenant": None if token is None else token.tenant,
        "current": None if current is None else current.subject,
        **more,
    }
    return json.dumps(seen)


async def asgi_echo(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app."""
    user, auth = scope["user"], scope["auth"]
    seen = description(
        scope["method"],
        scope["path"],
        scope["skeldir_jwt"],
        user=[user.is_authenticated, user.display_name, user.identity],
        scopes=sorted(auth.scopes),
    )
    headers = [(b"x-seen", seen.encode()), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else b"ok"})


async def websocket_echo(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app that tells what it saw after every message, until the client goes."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        user = scope["user"]
        seen = description("WEBSOCKET", scope["path"], scope["skeldir_jwt"], user=user.is_authenticated)
        await send({"type": "websocket.send", "text": seen})


def wsgi_echo(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """A WSGI app, written as a generator: nothing of it runs before the server iterates."""
    return _stream(environ, start_response)


def _stream(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    seen = description(environ["REQUEST_METHOD"], path, environ["skeldir_jwt"])
    start_response("200 OK", [("X-Seen", seen), ("Content-Length", "2")])
    yield b"" if environ["REQUEST_METHOD"] == "HEAD" else b"ok"
