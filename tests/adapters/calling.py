"""How the request table meets an adapter: a further one joins by a class with `call`."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

from echo import asgi_echo, wsgi_echo
from request_table import Case

from skeldir_jwt_mw import Verifier
from skeldir_jwt_mw.asgi import JWTMiddleware as ASGIMiddleware
from skeldir_jwt_mw.wsgi import JWTMiddleware as WSGIMiddleware


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came back. Header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that may be there once."""
        values = [value for known, value in self.headers if known == name]
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None

    @property
    def seen(self) -> dict[str, Any] | None:
        """What the app saw; None where the request did not get to it."""
        description = self.header("x-seen")
        return None if description is None else json.loads(description)


class Adapter(Protocol):
    """An adapter with an app behind it that answers as `echo` does."""

    over_sockets: bool  # a real server with its own limits: cases can leave it out
    everything: bool  # its verifiers remember tokens and have several issuers
    lacks: frozenset[str]  # what it does not have; cases that need one of these leave it out
    wraps: str | None  # the member that its framework puts the body of a refusal into

    def call(self, case: Case, tokens: Mapping[str, str]) -> Result:
        """Send the case's request, with tokens filled in."""
        ...


def filled(text: str, tokens: Mapping[str, str]) -> str:
    """The text with the token of that name for each `{name}`."""
    for name, token in tokens.items():
        text = text.replace(f"{{{name}}}", token)
    return text


def lines_of(case: Case, tokens: Mapping[str, str]) -> list[tuple[str, str]]:
    """The case's header lines, as they go over the wire."""
    return [(name, filled(value, tokens)) for name, value in case.headers]


class InProcessASGI:
    """The ASGI middleware, called with the scope that a server makes."""

    over_sockets = everything = False
    lacks: frozenset[str] = frozenset({"views"})
    wraps: str | None = None

    def __init__(self, verifier_for: Callable[[Case], Verifier]) -> None:
        self._verifier_for = verifier_for

    def call(self, case: Case, tokens: Mapping[str, str]) -> Result:
        """Call the middleware once, on a loop of its own."""
        app = ASGIMiddleware(asgi_echo, self._verifier_for(case), **case.options)
        scope = scope_of(case, tokens)
        before = dict(scope)
        result = asyncio.run(collect(app, scope))
        assert scope == before, "the server's scope was changed"
        return result


def scope_of(case: Case, tokens: Mapping[str, str]) -> dict[str, Any]:
    """The scope that a server makes of the case's request."""
    target, _, query = filled(case.path, tokens).partition("?")
    return {
        "type": "http",
        "method": case.method,
        "path": unquote_to_bytes(target).decode("utf-8", "replace"),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [
            (name.encode(), value.strip(" \t").encode("latin-1")) for name, value in lines_of(case, tokens)
        ],
    }


async def collect(app: Any, scope: dict[str, Any]) -> Result:
    """Call an ASGI app once; what a server would send."""
    sent: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        return waiting.pop() if waiting else await asyncio.Future()  # the client stays

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert {message["type"] for message in rest} == {"http.response.body"}
    assert all(name == name.lower() for name, _ in start["headers"])
    headers = tuple((name.decode(), value.decode("latin-1")) for name, value in start["headers"])
    body = b"".join(message.get("body", b"") for message in rest)
    return Result(status=start["status"], headers=headers, body=body)


class InProcessWSGI:
    """The WSGI middleware, called with the environ that a server makes."""

    over_sockets = everything = False
    lacks: frozenset[str] = frozenset({"views"})
    wraps: str | None = None

    def __init__(self, verifier_for: Callable[[Case], Verifier]) -> None:
        self._verifier_for = verifier_for

    def app_for(self, case: Case) -> Any:
        """The app behind the adapter, with the options of the case."""
        return WSGIMiddleware(wsgi_echo, self._verifier_for(case), **case.options)

    def call(self, case: Case, tokens: Mapping[str, str]) -> Result:
        """Call the middleware once."""
        app = self.app_for(case)
        target, _, query = filled(case.path, tokens).partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": case.method,
            "PATH_INFO": unquote_to_bytes(target).decode("latin-1"),
            "QUERY_STRING": query,
            "SCRIPT_NAME": "",
            "wsgi.input": io.BytesIO(),
        }
        setup_testing_defaults(environ)
        for name, value in lines_of(case, tokens):
            key = "HTTP_" + name.upper().replace("-", "_")
            stripped = value.strip(" \t")
            environ[key] = f"{environ[key]},{stripped}" if key in environ else stripped
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _: Any = None
        ) -> Callable[[bytes], None]:
            started.append((status, headers))
            return lambda data: None

        answer = app(environ, start_response)
        try:
            body = b"".join(answer)
        finally:
            getattr(answer, "close", lambda: None)()
        [(status, headers)] = started
        lowered = tuple((name.lower(), value) for name, value in headers)
        return Result(status=int(status.split()[0]), headers=lowered, body=body)
