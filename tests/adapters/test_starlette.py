"""Starlette behind uvicorn: `@requires`, other middleware beside ours, and bodies that pass untouched."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from calling import Result
from identity import Signer
from live_servers import Uvicorn
from request_table import PLAIN
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, unix_connect

from skeldir_jwt_mw import Verifier
from skeldir_jwt_mw.asgi import JWTMiddleware

Lines = list[tuple[str, str]]
MiB = 2**20
ORIGIN = "https://app.example.com"


class Site(Uvicorn):
    """The app of `starlette_site`."""

    command = tuple("starlette_site:app" if part == "live_app:asgi" else part for part in Uvicorn.command)


@pytest.fixture(scope="module")
def site(signer: Signer) -> Iterator[Site]:
    with Site(signer.environ) as site:
        yield site


@pytest.fixture(scope="module")
def ada(signer: Signer) -> Lines:
    """Ada's credentials, for reading and writing."""
    return [("Authorization", f"Bearer {signer.token(sub='ada')}")]


@pytest.fixture(scope="module")
def expired(tokens: dict[str, str]) -> Lines:
    return [("Authorization", f"Bearer {tokens['expired']}")]


def shown(result: Result) -> Any:
    assert result.status == 200
    return json.loads(result.body)


ADA = [True, "ada", ["orders:read", "orders:write"], "ada"]
NOBODY = [False, "", [], None]

# -- @requires ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "with_token", "without"),
    [
        ("GET", "/reading", 200, 403),
        ("GET", "/deleting", 404, 404),
        ("GET", "/redirecting", 303, 303),
        ("GET", "/orders", 200, 403),
        ("DELETE", "/orders", 403, 403),
    ],
)
def test_requires_guards_functions_and_classes(
    site: Site, ada: Lines, expired: Lines, method: str, path: str, with_token: int, without: int
) -> None:
    answer = site.send(method, path, ada)
    assert answer.status == with_token
    if with_token == 200:
        assert answer.body == b'"ada"'
    assert site.send(method, path, []).status == without
    assert site.send(method, path, expired).status == 401


def connect(site: Site, path: str, lines: Lines) -> ClientConnection:
    return unix_connect(site.path, f"ws://localhost{path}", additional_headers=lines)


def test_requires_guards_websockets(site: Site, ada: Lines, expired: Lines) -> None:
    with connect(site, "/updates", ada) as connection:
        assert connection.recv() == '"ada"'
    with connect(site, "/chat", ada) as connection:
        for text in ("one", "two"):
            connection.send(text)
            assert connection.recv() == f"{text} ada ada"
    for path, lines, status in (
        ("/updates", [], 403),  # what a server makes of Starlette's close
        ("/chat", [], 403),
        ("/deletions", ada, 403),
        ("/updates", expired, 401),
    ):
        with pytest.raises(InvalidStatus) as refused:
            connect(site, path, lines)
        assert refused.value.response.status_code == status


# -- sub-apps ----------------------------------------------------------------------------------------------


def test_a_mounted_app_brings_its_own_guard(site: Site, ada: Lines) -> None:
    assert site.send("GET", "/guarded/whoami", []).status == 401
    assert shown(site.send("GET", "/guarded/whoami", ada)) == ADA


def test_in_a_mounted_app_exempt_paths_begin_at_the_mount(site: Site, ada: Lines) -> None:
    assert shown(site.send("GET", "/exempting/whoami", ada)) == NOBODY
    assert site.send("GET", "/exempting/events", []).status == 401
    assert site.send("GET", "/exempting/exempting/whoami", []).status == 401


def test_a_mounted_app_without_a_framework_sees_the_user(site: Site, ada: Lines) -> None:
    path, root_path, name = shown(site.send("GET", "/bare/a", ada))
    assert path.endswith("/a")
    assert (root_path, name) == ("/bare", "ada")


# -- CORS --------------------------------------------------------------------------------------------------

FROM_THE_APP = [("Origin", ORIGIN)]
PREFLIGHT = [*FROM_THE_APP, ("Access-Control-Request-Method", "GET")]


def test_with_cors_outside_a_browser_may_read_the_refusal(site: Site, ada: Lines, expired: Lines) -> None:
    for lines in ([], expired):
        refused = site.send("GET", "/cors-outside/whoami", [*FROM_THE_APP, *lines])
        assert refused.status == 401
        assert refused.header("access-control-allow-origin") == ORIGIN
        assert refused.header("access-control-expose-headers") == "WWW-Authenticate"
        assert (refused.header("www-authenticate") or "").startswith(PLAIN)
    answer = site.send("GET", "/cors-outside/whoami", [*FROM_THE_APP, *ada])
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, ORIGIN)
    assert site.send("OPTIONS", "/cors-outside/whoami", PREFLIGHT).status == 200


def test_with_cors_inside_the_refusal_is_hidden_from_browsers(site: Site) -> None:
    refused = site.send("GET", "/cors-inside/whoami", FROM_THE_APP)
    assert (refused.status, refused.header("access-control-allow-origin")) == (401, None)
    preflight = site.send("OPTIONS", "/cors-inside/whoami", PREFLIGHT)
    assert (preflight.status, preflight.header("access-control-allow-origin")) == (401, None)
    let_in = site.send("OPTIONS", "/cors-inside-let-in/whoami", PREFLIGHT)  # exempt_preflight=True
    assert (let_in.status, let_in.header("access-control-allow-origin")) == (200, ORIGIN)


# -- AuthenticationMiddleware ------------------------------------------------------------------------------

SESSION = [("X-Session", "sam")]
SAM = [True, "sam", ["session"], None]


def test_a_session_is_the_user_where_there_is_no_token(site: Site, ada: Lines, expired: Lines) -> None:
    path = "/sessions-outside/whoami"
    assert shown(site.send("GET", path, [])) == NOBODY
    assert shown(site.send("GET", path, SESSION)) == SAM
    assert shown(site.send("GET", path, ada)) == ADA
    assert shown(site.send("GET", path, [*SESSION, *ada])) == ADA
    assert site.send("GET", path, [*SESSION, *expired]).status == 401


def test_authentication_middleware_inside_has_the_last_word_on_the_user(site: Site, ada: Lines) -> None:
    path = "/sessions-inside/whoami"
    assert shown(site.send("GET", path, ada)) == [False, "", [], "ada"]
    assert shown(site.send("GET", path, [*SESSION, *ada])) == [True, "sam", ["session"], "ada"]


# -- BaseHTTPMiddleware ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/stamped-outside", "/stamped-inside"])
def test_a_base_http_middleware_may_stand_on_either_side(site: Site, ada: Lines, path: str) -> None:
    answer = site.send("GET", f"{path}/whoami", ada)
    assert (shown(answer), answer.header("x-stamped")) == (ADA, "yes")
    refused = site.send("GET", f"{path}/whoami", [])
    assert (refused.status, refused.header("www-authenticate")) == (401, PLAIN)
    assert refused.header("x-stamped") == ("yes" if path == "/stamped-outside" else None)


# -- bodies ------------------------------------------------------------------------------------------------


def upload(site: Site, path: str, lines: Lines, chunks: int) -> tuple[http.client.HTTPResponse, bytes, str]:
    """Send that many MiB in chunks; the response, its body, and the SHA-256 of what was sent."""
    head = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", "Transfer-Encoding: chunked"]
    head += [f"{name}: {value}" for name, value in lines]
    digest = hashlib.sha256()
    with site.connect() as connection:
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        for number in range(chunks):
            part = bytes([number]) * MiB
            digest.update(part)
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        connection.sendall(b"0\r\n\r\n")
        response = http.client.HTTPResponse(connection, method="POST")
        response.begin()
        return response, response.read(), digest.hexdigest()


@pytest.mark.parametrize("path", ["/upload", "/guarded/upload", "/stamped-outside/upload"])
def test_an_upload_of_64_mib_arrives_as_it_was_sent(site: Site, ada: Lines, path: str) -> None:
    response, body, sent = upload(site, path, ada, 64)
    assert response.status == 200
    assert json.loads(body) == {"sha256": sent, "length": 64 * MiB, "in parts": True}


def test_an_upload_is_refused_before_its_body_is_sent(site: Site) -> None:
    head = "POST /guarded/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    with site.connect() as connection:
        connection.sendall(head.encode())
        response = http.client.HTTPResponse(connection, method="POST")
        response.begin()
        assert response.status == 401


def test_the_app_gets_the_servers_own_receive_and_send(verifier: Verifier, signer: Signer) -> None:
    """So the middleware can neither read nor hold back a body, whatever its size."""
    given: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        given.extend((receive, send))

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        raise AssertionError("something was sent")

    for token, options in ((signer.token(), {}), (None, {"required": False}), (None, {"exempt": ("/",)})):
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        asyncio.run(JWTMiddleware(app, verifier, **options)(scope, receive, send))  # type: ignore[arg-type]
    assert len(given) == 6
    assert given == [receive, send] * 3


def test_a_refused_body_is_not_read(verifier: Verifier, tokens: dict[str, str]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    async def receive() -> Any:
        raise AssertionError("the body was read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {tokens['expired']}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(JWTMiddleware(app, verifier)(scope, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def read_event(response: http.client.HTTPResponse) -> bytes:
    """The next server-sent event; raises where none comes in time."""
    line = response.readline()
    assert response.readline() == b"\n"
    return line


@pytest.mark.parametrize("prefix", ["", "/guarded", "/stamped-outside", "/stamped-inside"])
def test_events_arrive_one_by_one_and_know_whose_they_are(site: Site, ada: Lines, prefix: str) -> None:
    head = [f"GET {prefix}/events HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in ada)]
    before = len(shown(site.send("GET", "/ended", ada)))
    with site.connect() as connection:
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        response = http.client.HTTPResponse(connection, method="GET")
        response.begin()
        assert response.getheader("content-type", "").startswith("text/event-stream")
        for number in range(3):
            assert read_event(response) == f"data: {number} ada\n".encode()
            site.send("POST", "/next", ada)  # until then the next event does not exist
        assert response.read() == b""
    assert shown(site.send("GET", "/ended", ada))[before:] == ["ada"]


# -- exceptions --------------------------------------------------------------------------------------------


def test_the_apps_exception_handlers_serve_as_ever(site: Site, ada: Lines) -> None:
    answer = site.send("GET", "/failing", ada)
    assert (answer.status, answer.body) == (418, b"LookupError('ada') ada")
    assert site.send("GET", "/nowhere", ada).status == 404
    assert site.send("PUT", "/whoami", ada).status == 405


def test_an_exception_of_the_app_passes_as_it_is(verifier: Verifier, signer: Signer) -> None:
    error = LookupError()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    headers = [(b"authorization", f"Bearer {signer.token()}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    with pytest.raises(LookupError) as raised:
        asyncio.run(JWTMiddleware(app, verifier)(scope, None, None))  # type: ignore[arg-type]
    assert raised.value is error
    assert error.__cause__ is error.__context__ is None
