"""Django's middleware for Channels in the table of WebSockets, behind uvicorn and daphne."""

from __future__ import annotations

import asyncio
from typing import Any

import django
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import URLRouter
from django.urls import re_path
from django_adapter import SETTINGS, Loops, settings_of
from echo import description
from identity import verifiers_of_environment
from live_servers import Uvicorn
from request_table import WEBSOCKETS

from skeldir_jwt_mw.django.channels import JWTMiddleware


def seen_by(scope: Any) -> str:
    """What a consumer sees of its connection, with all that is commonly read of a user."""
    user = scope["user"]
    return description(
        "WEBSOCKET",
        scope["path"],
        scope["skeldir_jwt"],
        user=user.is_authenticated,
        anonymous=user.is_anonymous,
        pk=user.pk,
    )


class Echo(AsyncWebsocketConsumer):
    """Answers in an event loop."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Tell what it sees."""
        await self.send(text_data=seen_by(self.scope))


class SyncEcho(WebsocketConsumer):
    """Answers in a thread."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Tell what it sees."""
        self.send(text_data=seen_by(self.scope))


ROUTES = URLRouter([re_path(r"^sync$", SyncEcho.as_asgi()), re_path(r"", Echo.as_asgi())])


class UvicornChannels(Uvicorn):
    """The middleware behind uvicorn."""

    command = (
        *(part.replace("live_app:asgi", "channels_adapter:serving") for part in Uvicorn.command),
        "--factory",
    )


class DaphneChannels(Uvicorn):
    """The middleware behind daphne, which has no denial response."""

    has_denial = False
    command = ("daphne", "-u", "{socket}", "channels_adapter:served")


SERVERS = [
    type(
        server.__name__,
        (server,),
        {"__init__": lambda self, environ: Uvicorn.__init__(self, {**environ, **SETTINGS})},
    )
    for server in (UvicornChannels, DaphneChannels)
]


def serving() -> Any:
    """What a server runs: a connection names its case in `X-Case`."""
    django.setup()
    verifiers = verifiers_of_environment()
    one_at_a_time = asyncio.Lock()  # a process of Django's has one set of settings

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        headers = dict(scope["headers"])
        if b"x-no-denial" in headers:
            scope = {**scope, "extensions": {}}
        case = WEBSOCKETS[int(headers[b"x-case"])]
        async with one_at_a_time:
            with settings_of(case, verifiers.for_case(case), Loops):
                await JWTMiddleware(ROUTES)(scope, receive, send)

    return serve


def __getattr__(name: str) -> Any:
    if name == "served":  # for a server that calls no factory
        return serving()
    raise AttributeError(name)
