"""One service behind every adapter that tells whose tenant each part of a request believes to serve.

`GET /whose` answers one tenant a line: as the app is called, when all requests that came together are inside,
in a task or thread that the request starts, and in each piece of its streamed body. `GET /later` tells what
was seen after the answers: by background tasks, by work that outlives its request (which ends upon
`GET /release`), and by the server between requests.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any

from identity import AUDIENCE, ISSUER, JWKS_VARIABLE

from skeldir_jwt_mw import Issuer, Verifier, current_token
from skeldir_jwt_mw.sources import StaticSource

if "SKELDIR_JWT_TEST_MUTATION" in os.environ:  # a negative control looks whether the proof goes red
    import mutations

    mutations.prepare()

TENANT_CLAIM = "tenant_id"
TOGETHER = "TENANT_TESTS_TOGETHER"  # how many requests meet inside
OPEN = ("/later", "/release")  # paths that need no token
PIECES = 3
PATIENCE = 60.0  # seconds for all of them to arrive

later: dict[str, list[tuple[str | None, str | None]]] = {"background": [], "outliving": []}
release = threading.Event()


@cache
def verifier() -> Verifier:
    """The process's verifier."""
    source = StaticSource(os.environ[JWKS_VARIABLE])
    return Verifier(Issuer(ISSUER, audience=AUDIENCE, source=source, tenant_claim=TENANT_CLAIM))


@cache
def barrier() -> threading.Barrier:
    """Where the requests of the threads wait for each other."""
    return threading.Barrier(int(os.environ[TOGETHER]))


def tenant() -> str | None:
    """Whose request this is."""
    token = current_token()
    return None if token is None else token.tenant


def record(kind: str, whose: str | None) -> None:
    """Note for whom something ran and whom it saw."""
    later[kind].append((whose, tenant()))


def told(path: str) -> bytes:
    """What was seen after the answers; after `/release` work that outlives its request ends."""
    if path == "/release":
        release.set()
    return json.dumps({**later, "now": tenant()}).encode()


class Meeting:
    """Where the requests of an event loop wait for each other."""

    def __init__(self) -> None:
        self._inside = 0
        self._complete: asyncio.Event | None = None

    async def wait(self) -> None:
        """Return when all are here."""
        self._complete = self._complete or asyncio.Event()
        self._inside += 1
        if self._inside % int(os.environ[TOGETHER]) == 0:
            self._complete.set()
        await asyncio.wait_for(self._complete.wait(), PATIENCE)


_meeting = Meeting()
_kept: set[Any] = set()


async def observe() -> list[str | None]:
    """What a request on an event loop sees on its way."""

    async def in_a_task() -> str | None:
        await asyncio.sleep(0)
        return tenant()

    async def outliving(whose: str | None) -> None:
        while not release.is_set():
            await asyncio.sleep(0.02)
        record("outliving", whose)

    seen = [tenant()]
    await _meeting.wait()
    seen += [tenant(), await asyncio.create_task(in_a_task()), await asyncio.to_thread(tenant)]
    _kept.add(asyncio.create_task(outliving(seen[0])))
    return seen


async def pieces(seen: list[str | None]) -> AsyncIterator[bytes]:
    """The streamed body."""
    for whose in seen:
        yield f"{whose}\n".encode()
    for _ in range(PIECES):
        await asyncio.sleep(0)
        yield f"{tenant()}\n".encode()


def observe_in_thread() -> list[str | None]:
    """What a request in a thread sees on its way."""

    def outliving(whose: str | None) -> None:
        release.wait(PATIENCE)
        record("outliving", whose)

    def in_a_thread() -> None:
        seen.append(tenant())

    seen = [tenant()]
    barrier().wait(PATIENCE)
    seen.append(tenant())
    inner = threading.Thread(target=contextvars.copy_context().run, args=(in_a_thread,))
    inner.start()
    inner.join()
    run = contextvars.copy_context().run
    _kept.add(thread := threading.Thread(target=run, args=(outliving, seen[0]), daemon=True))
    thread.start()
    return seen


def pieces_in_thread(seen: list[str | None]) -> Iterator[bytes]:
    """The streamed body; its end is the last that runs for a request."""
    whose = tenant()
    for one in seen:
        yield f"{one}\n".encode()
    for _ in range(PIECES):
        yield f"{tenant()}\n".encode()
    record("background", whose)


def __getattr__(name: str) -> Any:
    """The app behind one adapter; frameworks are imported when they are asked for."""
    if name not in _APPS:
        raise AttributeError(name)
    return _APPS[name]()


def _asgi() -> Any:
    from skeldir_jwt_mw.asgi import JWTMiddleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked = scope["path"] == "/whose"
        body = pieces(await observe()) if asked else _once(told(scope["path"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for piece in body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        if asked:
            record("background", scope["skeldir_jwt"].tenant)

    return JWTMiddleware(app, verifier(), exempt=OPEN)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    from skeldir_jwt_mw.asgi import JWTMiddleware

    async def whose(request: Request) -> Response:
        background = BackgroundTask(record, "background", request.scope["skeldir_jwt"].tenant)
        return StreamingResponse(pieces(await observe()), background=background)

    async def tell(request: Request) -> Response:
        return Response(told(request.url.path))

    routes = [Route("/whose", whose), *(Route(path, tell) for path in OPEN)]
    guard = Middleware(JWTMiddleware, verifier=verifier(), exempt=OPEN)
    return Starlette(routes=routes, middleware=[guard])


def _wsgi() -> Any:
    from skeldir_jwt_mw.wsgi import JWTMiddleware

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        path = environ["PATH_INFO"]
        return [told(path)] if path in OPEN else pieces_in_thread(observe_in_thread())

    return JWTMiddleware(app, verifier(), exempt=OPEN)


def _fastapi() -> Any:
    from tenant_fastapi import app

    return app


def _flask() -> Any:
    import flask

    from skeldir_jwt_mw.flask import JWT

    app = flask.Flask(__name__)
    JWT(app, verifier(), exempt=OPEN)
    app.get("/whose")(lambda: pieces_in_thread(observe_in_thread()))
    for path in OPEN:
        app.get(path, endpoint=path)(lambda: told(flask.request.path))
    return app


def _django_wsgi() -> Any:
    from tenant_django import in_threads

    return in_threads()


def _django_asgi() -> Any:
    from tenant_django import on_event_loops

    return on_event_loops()


_APPS = {
    "asgi": _asgi,
    "starlette": _starlette,
    "fastapi": _fastapi,
    "django_asgi": _django_asgi,
    "wsgi": _wsgi,
    "flask": _flask,
    "django_wsgi": _django_wsgi,
}
