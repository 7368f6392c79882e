"""`current_token()` is the request's own token while the request is served, and nothing afterwards."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from identity import Signer
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from skeldir_jwt_mw import Verifier, current_token
from skeldir_jwt_mw.asgi import JWTMiddleware as ASGIMiddleware
from skeldir_jwt_mw.wsgi import JWTMiddleware as WSGIMiddleware

REQUESTS = 500


def subject() -> str | None:
    """Whose request this is."""
    token = current_token()
    return None if token is None else token.subject


def scope_of(token: str | None, path: str = "/") -> dict[str, Any]:
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b""}
    return {**scope, "headers": headers, "http_version": "1.1", "server": ("localhost", 80)}


async def ask(app: Any, token: str | None) -> bytes:
    """The body of the answer."""
    parts: list[bytes] = []
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if gone.is_set():
            await asyncio.Future()
        gone.set()
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        parts.append(message.get("body", b""))

    await app(scope_of(token), receive, send)
    return b"".join(parts)


@pytest.fixture(scope="module")
def people(signer: Signer) -> dict[str, str]:
    """A token for each of many subjects."""
    return {f"user-{number}": signer.token(sub=f"user-{number}") for number in range(REQUESTS)}


def test_each_of_500_concurrent_requests_sees_its_own_token(
    verifier: Verifier, people: dict[str, str]
) -> None:
    inside = 0
    all_inside = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside
        before = subject()
        inside += 1
        if inside == REQUESTS:
            all_inside.set()
        await all_inside.wait()
        during = await asyncio.create_task(_later())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{before} {during} {subject()}".encode()})

    async def _later() -> str | None:
        await asyncio.sleep(0)
        return subject()

    async def main() -> list[bytes]:
        guarded = ASGIMiddleware(app, verifier)
        answers = await asyncio.gather(*(ask(guarded, token) for token in people.values()))
        assert subject() is None
        return answers

    assert asyncio.run(main()) == [f"{name} {name} {name}".encode() for name in people]


def test_requests_one_after_the_other_leave_nothing_behind(
    verifier: Verifier, people: dict[str, str]
) -> None:
    seen: list[str | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(subject())

    async def main() -> None:
        guarded = ASGIMiddleware(app, verifier, required=False)
        for token in (people["user-1"], None, people["user-2"]):
            await guarded(scope_of(token), None, None)  # type: ignore[arg-type]
            seen.append(subject())

    asyncio.run(main())
    assert seen == ["user-1", None, None, None, "user-2", None]


def test_an_app_that_fails_leaves_no_token_behind(verifier: Verifier, people: dict[str, str]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError(subject())

    async def main() -> None:
        with pytest.raises(LookupError, match="user-1"):
            await ask(ASGIMiddleware(app, verifier), people["user-1"])
        assert subject() is None

    asyncio.run(main())


def test_the_token_is_there_for_a_streamed_body_and_its_background_task(
    verifier: Verifier, people: dict[str, str]
) -> None:
    in_background: list[str | None] = []

    async def stream() -> AsyncIterator[str]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield f"{subject()};"

    def blocking() -> None:  # in a thread of Starlette's
        in_background.append(subject())

    def endpoint(request: Request) -> Response:
        return StreamingResponse(stream(), background=BackgroundTask(blocking))

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(ASGIMiddleware, verifier=verifier)
    assert asyncio.run(ask(app, people["user-7"])) == b"user-7;" * 3
    assert in_background == ["user-7"]


def test_the_token_is_there_behind_a_middleware_that_runs_the_app_in_a_task(
    verifier: Verifier, people: dict[str, str]
) -> None:
    async def passing(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-outside"] = str(subject())
        return response

    def endpoint(request: Request) -> Response:
        return PlainTextResponse(str(subject()))

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    app.add_middleware(ASGIMiddleware, verifier=verifier)
    assert asyncio.run(ask(app, people["user-3"])) == b"user-3"


def test_a_task_that_outlives_its_request_sees_no_token(verifier: Verifier, people: dict[str, str]) -> None:
    seen: list[str | None] = []

    async def main() -> None:
        release = asyncio.Event()
        tasks: list[asyncio.Task[None]] = []

        async def outliving() -> None:
            seen.append(subject())
            await release.wait()
            seen.append(subject())

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if not tasks:
                tasks.append(asyncio.create_task(outliving()))
                await asyncio.sleep(0)
                return
            release.set()  # during the next request
            await tasks[0]
            seen.append(subject())

        guarded = ASGIMiddleware(app, verifier)
        await ask(guarded, people["user-1"])
        await ask(guarded, people["user-2"])

    asyncio.run(main())
    assert seen == ["user-1", None, "user-2"]


def test_a_middleware_inside_another_gives_the_outer_token_back(
    verifier: Verifier, people: dict[str, str]
) -> None:
    seen: list[str | None] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(subject())

    guarded_inner = ASGIMiddleware(inner, verifier, required=False)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        seen.append(subject())
        await guarded_inner(scope_of(None), receive, send)
        await guarded_inner(scope_of(people["user-2"]), receive, send)
        seen.append(subject())

    asyncio.run(ask(ASGIMiddleware(outer, verifier), people["user-1"]))
    assert seen == ["user-1", None, "user-2", "user-1"]


# WSGI


def call(app: Any, token: str | None, **more: Any) -> Iterable[bytes]:
    """What the app returns to the server."""
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", **more}
    if token is not None:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    answer: Iterable[bytes] = app(environ, lambda *_: None)
    return answer


def close(body: Iterable[bytes]) -> None:
    """What a server does in the end (PEP 3333)."""
    closing: Callable[[], None] = getattr(body, "close", lambda: None)
    closing()


def streaming(environ: Any, start_response: Any) -> Iterator[bytes]:
    for _ in range(3):
        yield str(subject()).encode()


def test_each_thread_sees_its_own_token(verifier: Verifier, people: dict[str, str]) -> None:
    workers = 8
    together = threading.Barrier(workers)

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        together.wait(20)
        yield str(subject()).encode()
        together.wait(20)
        yield str(subject()).encode()

    guarded = WSGIMiddleware(app, verifier)

    def request(name: str) -> tuple[bytes, bytes, str | None]:
        body = call(guarded, people[name])
        first, second = body
        close(body)
        return first, second, subject()

    names = [f"user-{number}" for number in range(workers * 8)]
    with ThreadPoolExecutor(workers) as pool:
        assert list(pool.map(request, names)) == [(name.encode(), name.encode(), None) for name in names]


def test_the_token_lives_until_the_body_is_closed(verifier: Verifier, people: dict[str, str]) -> None:
    body = call(WSGIMiddleware(streaming, verifier), people["user-1"])
    assert list(body) == [b"user-1"] * 3
    assert subject() == "user-1"
    close(body)
    assert subject() is None


def test_a_body_that_is_left_half_way_is_closed_with_its_token(
    verifier: Verifier, people: dict[str, str]
) -> None:
    at_close: list[str | None] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            at_close.append(subject())

    body = call(WSGIMiddleware(app, verifier), people["user-1"])
    assert next(iter(body)) == b"one"
    close(body)
    assert at_close == ["user-1"]
    assert subject() is None


def test_a_body_that_fails_to_close_leaves_no_token_behind(
    verifier: Verifier, people: dict[str, str]
) -> None:
    class Failing(list[bytes]):
        def close(self) -> None:
            raise LookupError(subject())

    body = call(WSGIMiddleware(lambda environ, start_response: Failing([b"a"]), verifier), people["user-1"])
    with pytest.raises(LookupError, match="user-1"):
        close(body)
    assert subject() is None


def test_a_wsgi_app_that_fails_leaves_no_token_behind(verifier: Verifier, people: dict[str, str]) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise LookupError(subject())

    with pytest.raises(LookupError, match="user-1"):
        call(WSGIMiddleware(app, verifier), people["user-1"])
    assert subject() is None


def test_a_server_that_forgets_to_close_leaves_no_token_behind(
    verifier: Verifier, people: dict[str, str]
) -> None:
    assert list(call(WSGIMiddleware(streaming, verifier), people["user-1"])) == [b"user-1"] * 3
    assert subject() is None


def test_a_body_that_is_closed_in_another_context_is_emptied_everywhere(
    verifier: Verifier, people: dict[str, str]
) -> None:
    body = call(WSGIMiddleware(streaming, verifier), people["user-1"])
    copied = copy_context()
    thread = threading.Thread(target=close, args=(body,))
    thread.start()
    thread.join()
    assert subject() is None
    assert copied.run(subject) is None


def test_bodies_that_are_closed_out_of_order_keep_to_their_own_tokens(
    verifier: Verifier, people: dict[str, str]
) -> None:
    guarded = WSGIMiddleware(streaming, verifier)
    first = call(guarded, people["user-1"])
    second = call(guarded, people["user-2"])
    close(first)
    assert subject() == "user-2"
    close(second)
    assert subject() is None


def test_a_list_is_handed_on_as_it_is_and_the_token_is_gone(
    verifier: Verifier, people: dict[str, str]
) -> None:
    answer = [b"a", b"b"]
    assert call(WSGIMiddleware(lambda environ, start_response: answer, verifier), people["user-1"]) is answer
    assert subject() is None
