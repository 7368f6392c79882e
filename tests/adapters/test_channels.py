"""The middleware for Channels: whose a connection is, for consumers, resolvers and sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.testing import HttpCommunicator, WebsocketCommunicator
from channels_adapter import ROUTES, Echo
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.urls import re_path

from skeldir_jwt_mw import Verifier, current_token
from skeldir_jwt_mw.django import TokenUser
from skeldir_jwt_mw.django.channels import JWTMiddleware

Scope = dict[str, Any]


class Consumer:
    """Notes the scope of a connection, and accepts it."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.current: list[Any] = []

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.current.append(current_token())
        await receive()
        await send({"type": "websocket.accept"})


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


def settings(verifier: Verifier, **options: Any) -> override_settings:
    return override_settings(SKELDIR_JWT={"VERIFIER": verifier, **options})


def connected(app: Any, token: str | None = None, path: str = "/live") -> tuple[bool, int | None]:
    """Whether the connection was accepted, and the close code else."""
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]

    async def play() -> tuple[bool, int | None]:
        client = WebsocketCommunicator(app, path, headers)
        accepted, code = await client.connect()
        await client.disconnect()
        return accepted, None if accepted else code

    return asyncio.run(play())


def test_a_consumer_sees_a_user_with_all_that_django_reads(
    verifier: Verifier, tokens: dict[str, str], consumer: Consumer
) -> None:
    with settings(verifier):
        assert connected(JWTMiddleware(consumer), tokens["valid"]) == (True, None)
    [scope], [current] = consumer.scopes, consumer.current
    user = scope["user"]
    assert isinstance(user, TokenUser)
    assert (user.pk, user.is_anonymous, user.is_authenticated) == ("user-1", False, True)
    assert scope["skeldir_jwt"] is user.token is current
    assert current_token() is None


@pytest.mark.parametrize("path", ["/live", "/sync"])
def test_consumers_of_either_kind_have_the_current_token(
    verifier: Verifier, tokens: dict[str, str], path: str
) -> None:
    headers = [(b"authorization", f"Bearer {tokens['valid']}".encode())]

    async def play() -> Any:
        client = WebsocketCommunicator(JWTMiddleware(ROUTES), path, headers)
        assert (await client.connect())[0]
        await client.send_to(text_data="?")
        seen = await client.receive_json_from()
        await client.disconnect()
        return seen

    with settings(verifier):
        seen = asyncio.run(play())
    assert (seen["subject"], seen["current"], seen["pk"]) == ("user-1", "user-1", "user-1")


@pytest.mark.parametrize("kind", [None, "expired", "forged", "unsigned"])
def test_a_connection_without_a_good_token_is_closed(
    verifier: Verifier, tokens: dict[str, str], consumer: Consumer, kind: str | None
) -> None:
    with settings(verifier):
        assert connected(JWTMiddleware(consumer), tokens[kind] if kind else None) == (False, 1008)
    assert consumer.scopes == []


def test_an_anonymous_connection_keeps_the_session_s_user_or_has_nobody(
    verifier: Verifier, tokens: dict[str, str], consumer: Consumer
) -> None:
    someone = object()

    async def session(scope: Scope, receive: Any, send: Any) -> None:
        await JWTMiddleware(consumer)({**scope, "user": someone}, receive, send)

    with settings(verifier, REQUIRED=False):
        assert connected(session) == connected(JWTMiddleware(consumer)) == (True, None)
        assert connected(session, tokens["valid"]) == (True, None)
        assert connected(session, tokens["expired"]) == (False, 1008)
    kept, nobody, known = (scope["user"] for scope in consumer.scopes)
    assert kept is someone
    assert (nobody.is_anonymous, nobody.pk) == (True, None)
    assert known.pk == "user-1"


def resolvers(found: Any, seen: list[Any]) -> list[Callable[..., Any]]:
    def plain(request: Any, token: Any) -> Any:
        seen.append((request.method, request.path_info, request.COOKIES, current_token() is token))
        return found

    async def native(request: Any, token: Any) -> Any:
        return plain(request, token)

    def odd(request: Any, token: Any) -> Awaitable[Any]:
        return native(request, token)

    return [plain, native, odd]


@pytest.mark.parametrize("number", range(3))
def test_a_resolver_finds_the_user_by_the_handshake(
    verifier: Verifier, tokens: dict[str, str], consumer: Consumer, number: int
) -> None:
    seen: list[Any] = []
    someone = object()
    with settings(verifier, USER_RESOLVER=resolvers(someone, seen)[number]):
        assert connected(JWTMiddleware(consumer), tokens["valid"]) == (True, None)
    assert seen == [("GET", "/live", {}, True)]
    assert consumer.scopes[0]["user"] is someone
    with settings(verifier, USER_RESOLVER=resolvers(None, seen)[number]):
        assert connected(JWTMiddleware(consumer), tokens["valid"]) == (False, 1008)


def test_a_resolver_that_fails_fails_the_connection(
    verifier: Verifier, tokens: dict[str, str], consumer: Consumer
) -> None:
    def failing(request: Any, token: Any) -> Any:
        raise LookupError("no directory")

    with settings(verifier, USER_RESOLVER=failing), pytest.raises(LookupError):
        connected(JWTMiddleware(consumer), tokens["valid"])
    assert consumer.scopes == []
    assert current_token() is None


def test_http_consumers_are_guarded_alike(
    verifier: Verifier, tokens: dict[str, str], consumer: Consumer
) -> None:
    async def ask() -> Any:
        return await HttpCommunicator(JWTMiddleware(consumer), "GET", "/live").get_response()

    with settings(verifier):
        response = asyncio.run(ask())
    assert response["status"] == 401
    assert (b"www-authenticate", b'Bearer realm="api"') in response["headers"]
    assert consumer.scopes == []


def test_exempt_paths_begin_below_the_root_and_may_be_for_websockets_alone(
    verifier: Verifier, tokens: dict[str, str]
) -> None:
    app = ProtocolTypeRouter({"websocket": JWTMiddleware(URLRouter([re_path("", Echo.as_asgi())]))})
    for exempt, path, accepted in (
        ("/live", "/live", True),
        ("WEBSOCKET /live", "/live", True),
        ("GET /live", "/live", False),
        ("/live", "/other", False),
        ("/live/", "/live/../other", False),
    ):
        with settings(verifier, EXEMPT=[exempt]):
            assert connected(app, path=path)[0] is accepted, (exempt, path)


@pytest.mark.parametrize("scope", [{"type": "channel", "channel": "a"}, {"type": "websocket"}, {}])
def test_what_is_no_connection_is_refused_by_name(
    verifier: Verifier, consumer: Consumer, scope: Scope
) -> None:
    with settings(verifier), pytest.raises(ValueError, match="not served"):
        asyncio.run(JWTMiddleware(consumer)(scope, None, None))  # type: ignore[arg-type]
    assert consumer.scopes == []


def test_lifespan_passes(verifier: Verifier) -> None:
    seen: list[str] = []

    async def inner(scope: Scope, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    with settings(verifier):
        asyncio.run(JWTMiddleware(inner)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


def test_misconfiguration_shows_when_the_middleware_is_made(consumer: Consumer) -> None:
    with (
        override_settings(SKELDIR_JWT={"ISSUER": "nowhere", "AUDIENCE": "a"}),
        pytest.raises(ImproperlyConfigured),
    ):
        JWTMiddleware(consumer)
