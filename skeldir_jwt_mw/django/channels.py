"""Middleware for Channels: WebSockets, which Django's own middleware never sees."""

from __future__ import annotations

from io import BytesIO

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections

from skeldir_jwt_mw._http import VERIFIED, Response, ScopeRequest
from skeldir_jwt_mw.asgi import ASGIApp, Receive, Scope, Send, answer
from skeldir_jwt_mw.token import RequestScope

from . import conf
from .identity import Identity, aidentify
from .visit import nobody

__all__ = ["JWTMiddleware"]


class JWTMiddleware:
    """Lets a connection through when it carries a verified token, and answers for its consumer otherwise.

    Sets `scope["skeldir_jwt"]` (a `VerifiedToken`, None for an anonymous connection) and `scope["user"]` (a
    `TokenUser`, or what the `USER_RESOLVER` returns of the handshake as a request; an anonymous connection
    keeps the user of its session) in a copy of the scope. It stands inside of Channels' `AuthMiddlewareStack`
    and goes by the project's settings. Raises `ImproperlyConfigured`.
    """

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner
        conf.guard()  # misconfiguration shows at the start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; raises `ValueError` for one of a protocol that is not served."""
        if scope.get("type") == "lifespan":
            return await self.inner(scope, receive, send)
        guard = conf.guard()
        verdict = guard.judge(ScopeRequest(scope))
        outcome = await _identified(scope, verdict) if isinstance(verdict, bytes | str) else verdict
        if isinstance(outcome, Response):
            return await answer(outcome, scope, receive, send)
        scope = dict(scope)
        if outcome is None:
            scope["skeldir_jwt"] = None
            scope.setdefault("user", nobody())
        else:
            scope["skeldir_jwt"] = outcome.token
            scope[VERIFIED] = outcome.verified
            scope["user"] = outcome.user
        with RequestScope(scope["skeldir_jwt"]):
            await self.inner(scope, receive, send)


async def _identified(scope: Scope, raw: bytes | str) -> Identity | Response:
    """Whose token it is; a resolver meets a fresh connection to the database, as in a request."""
    handshake = ASGIRequest({**scope, "method": scope.get("method", "GET")}, BytesIO())
    if conf.user_resolver() is None:
        return await aidentify(conf.guard(), handshake, raw)
    renew = sync_to_async(close_old_connections, thread_sensitive=True)
    await renew()
    try:
        return await aidentify(conf.guard(), handshake, raw)
    finally:
        await renew()
