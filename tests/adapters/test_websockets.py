"""WebSockets behind a real server with a real client, and message by message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from calling import filled, lines_of
from echo import websocket_echo
from identity import Signer
from live_servers import Uvicorn
from request_table import SWITCHED, WEBSOCKETS, Case
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, unix_connect
from websockets.typing import Subprotocol

from skeldir_jwt_mw import Verifier, current_token
from skeldir_jwt_mw._http import DESCRIPTIONS
from skeldir_jwt_mw.asgi import JWTMiddleware

SERVERS = [Uvicorn]
if find_spec("fastapi") is not None:
    SERVERS.append(import_module("fastapi_adapter").UvicornFastAPI)
if find_spec("django") is not None:  # which Channels needs
    SERVERS += import_module("channels_adapter").SERVERS


@pytest.fixture(scope="module", params=SERVERS)
def uvicorn(request: pytest.FixtureRequest, signer: Signer) -> Iterator[Uvicorn]:
    with request.param(signer.environ) as server:
        yield server


def connect(uvicorn: Uvicorn, case: Case, tokens: dict[str, str], *more: tuple[str, str]) -> ClientConnection:
    lines = [("X-Case", str(WEBSOCKETS.index(case))), *more]
    offered = []
    for name, value in lines_of(case, tokens):
        if name == "Sec-WebSocket-Protocol":
            offered = [Subprotocol(entry) for entry in value.split(", ")]
        else:
            lines.append((name, value))
    uri = f"ws://localhost{filled(case.path, tokens)}"
    return unix_connect(uvicorn.path, uri, additional_headers=lines, subprotocols=offered or None)


@pytest.mark.parametrize("case", WEBSOCKETS, ids=lambda case: case.name)
def test_a_websocket_is_accepted_or_denied_like_a_request(
    uvicorn: Uvicorn, case: Case, tokens: dict[str, str]
) -> None:
    if uvicorn.lacks & case.needs:
        return
    if case.status == SWITCHED:
        with connect(uvicorn, case, tokens) as connection:
            for _ in range(2):
                connection.send("who am I?")
                seen = json.loads(connection.recv())
                assert (seen["subject"], seen["current"]) == (case.subject, case.subject)
                assert seen["user"] is (case.subject is not None)
        return
    with pytest.raises(InvalidStatus) as denied:
        connect(uvicorn, case, tokens)
    response = denied.value.response
    if not uvicorn.has_denial:
        assert response.status_code == 403
        return
    assert response.status_code == case.status
    assert response.headers.get("WWW-Authenticate") == case.challenge
    assert response.headers["Content-Type"] == "application/json"
    assert int(response.headers.get("Retry-After", "0")) >= (1 if case.status == 503 else 0)
    assert case.error is not None
    refusal = {"error": case.error, "error_description": DESCRIPTIONS[case.error]}
    assert json.loads(response.body) == (refusal if uvicorn.wraps is None else {uvicorn.wraps: refusal})


DENIED = [case for case in WEBSOCKETS if case.status != SWITCHED]


@pytest.mark.parametrize("case", DENIED, ids=lambda case: case.name)
def test_a_websocket_is_refused_where_the_server_has_no_denial_response(
    uvicorn: Uvicorn, case: Case, tokens: dict[str, str]
) -> None:
    if uvicorn.lacks & case.needs:
        return
    with pytest.raises(InvalidStatus) as denied:
        connect(uvicorn, case, tokens, ("X-No-Denial", "1"))
    assert denied.value.response.status_code == 403  # what a server makes of a close before the accept


def _talk(app: Any, extensions: dict[str, Any] | None, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Play a client without credentials, and return what the server would have sent it."""
    sent: list[dict[str, Any]] = []
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/", "headers": [], "extensions": extensions}
    asyncio.run(app({name: value for name, value in scope.items() if value is not None}, receive, send))
    assert not waiting
    return sent


CONNECT = {"type": "websocket.connect"}


@pytest.mark.parametrize("extensions", [None, {}, {"websocket.other": {}}])
def test_the_close_code_is_1008_where_the_server_has_no_denial_response(
    verifier: Verifier, extensions: dict[str, Any] | None
) -> None:
    app = JWTMiddleware(websocket_echo, verifier)
    assert _talk(app, extensions, CONNECT) == [{"type": "websocket.close", "code": 1008}]


def test_a_denial_is_one_whole_response(verifier: Verifier) -> None:
    app = JWTMiddleware(websocket_echo, verifier)
    start, body = _talk(app, {"websocket.http.response": {}}, CONNECT)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert (b"www-authenticate", b'Bearer realm="api"') in start["headers"]
    assert body["type"] == "websocket.http.response.body"
    assert not body.get("more_body", False)


def test_a_client_that_has_gone_is_sent_nothing(verifier: Verifier) -> None:
    app = JWTMiddleware(websocket_echo, verifier)
    assert _talk(app, {"websocket.http.response": {}}, {"type": "websocket.disconnect", "code": 1006}) == []


def test_the_token_lives_as_long_as_the_connection(verifier: Verifier, tokens: dict[str, str]) -> None:
    app = JWTMiddleware(websocket_echo, verifier)
    authorization = [(b"authorization", f"Bearer {tokens['valid']}".encode())]
    seen: list[object] = []

    async def play() -> None:
        incoming = [
            CONNECT,
            *[{"type": "websocket.receive", "text": "?"}] * 3,
            {"type": "websocket.disconnect"},
        ]

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            return incoming.pop(0)

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "websocket.send":
                seen.append(json.loads(message["text"])["current"])

        scope = {"type": "websocket", "path": "/", "headers": authorization}
        await app(scope, receive, send)
        seen.append(current_token())

    asyncio.run(play())
    assert seen == ["user-1"] * 3 + [None]
