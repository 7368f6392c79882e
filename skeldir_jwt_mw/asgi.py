"""ASGI middleware, for HTTP and WebSocket: Starlette, FastAPI, or any other app (ASGI 3.0)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from ._http import (
    REFUSALS,
    VERIFIED,
    Guard,
    Resource,
    Response,
    ScopeRequest,
    TokenGetter,
    TokenVerifier,
    as_verified,
    first_of,
    from_cookie,
    from_header,
    jwt_shaped,
)
from .options import EXEMPT, EXEMPT_PREFLIGHT, NOTHING, REALM, REQUIRED
from .token import RequestScope, VerifiedToken
from .user_key import UserKey

__all__ = [
    "AnonymousUser",
    "AuthCredentials",
    "JWTMiddleware",
    "User",
    "first_of",
    "from_cookie",
    "from_header",
    "jwt_shaped",
]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class JWTMiddleware:
    """Lets a request through when it carries a verified token, and answers for the app when it does not.

    Sets `scope["skeldir_jwt"]` (a `VerifiedToken`, None for an anonymous request) and, in Starlette's shape,
    `scope["user"]` and `scope["auth"]`, in a copy of the scope; an anonymous request keeps a user that an
    outer middleware has set. The README explains the options. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        app: ASGIApp,
        verifier: TokenVerifier | None = None,
        *,
        required: bool = REQUIRED,
        exempt: Iterable[str] = EXEMPT,
        exempt_preflight: bool = EXEMPT_PREFLIGHT,
        realm: str = REALM,
        resource: Resource | None = NOTHING,
        token_getter: TokenGetter | None = NOTHING,
        user_key: UserKey | None = NOTHING,
    ) -> None:
        self.app = app
        self._guard = Guard(
            verifier,
            required=required,
            exempt=exempt,
            exempt_preflight=exempt_preflight,
            realm=realm,
            resource=resource,
            token_getter=token_getter,
            user_key=user_key,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; raises `ValueError` for one of a protocol that is not served."""
        if scope.get("type") == "lifespan":
            return await self.app(scope, receive, send)
        request = ScopeRequest(scope)
        verdict = self._guard.judge(request)
        if isinstance(verdict, Response):
            return await answer(verdict, scope, receive, send)
        token = None
        if verdict is None:
            scope = {"user": ANONYMOUS, "auth": ANONYMOUS, **scope, "skeldir_jwt": None}
        else:
            try:
                token = await self._guard.verifier.averify(verdict)
            except REFUSALS as error:
                return await answer(self._guard.refusal(request, verdict, error), scope, receive, send)
            scope = dict(scope)
            scope["skeldir_jwt"] = token
            scope[VERIFIED] = as_verified((self._guard.verifier, verdict, token))
            scope["user"] = scope["auth"] = User(token, self._guard.user_key)
        request_scope = RequestScope(token)
        try:
            await self.app(scope, receive, send)
        finally:
            request_scope.close()  # after a streamed body and its background tasks


class AuthCredentials:
    """What the token permits, in the shape of Starlette's class of that name."""

    __slots__ = ("_token",)

    def __init__(self, token: VerifiedToken | None = None) -> None:
        self._token = token

    @property
    def scopes(self) -> list[str]:
        """The token's scopes, in no particular order; none where there is no token."""
        return [] if self._token is None else list(self._token.scopes)


class User(AuthCredentials):
    """The token's user, in the shape of Starlette's users; one object for both keys of the scope.

    `key` is the user's name among those of all issuers, or tells it when it is asked for; left out, that is
    the subject.
    """

    __slots__ = ("_key",)

    is_authenticated = True

    def __init__(self, token: VerifiedToken, key: str | Callable[[VerifiedToken], str] | None = None) -> None:
        self._token: VerifiedToken = token
        self._key = key

    def __reduce__(self) -> tuple[type[User], tuple[VerifiedToken, str]]:
        """Copied and pickled without what tells the name."""
        return type(self), (self._token, self.identity)

    @property
    def identity(self) -> str:
        """The subject, with its issuer where there are several; empty where the token has none."""
        if callable(self._key):
            return self._key(self._token)
        return self._token.subject if self._key is None else self._key

    @property
    def display_name(self) -> str:
        """The subject; empty where the token has none."""
        return self._token.subject


class AnonymousUser(AuthCredentials):
    """Nobody, in the shape of Starlette's users, without any scope."""

    __slots__ = ()

    is_authenticated = False
    identity = display_name = ""


ANONYMOUS = AnonymousUser()


async def answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Write the response; to a WebSocket as its denial where the server can, else as close code 1008."""
    kind = "http.response"
    if scope["type"] == "websocket":
        if (await receive())["type"] != "websocket.connect":
            return
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        kind = "websocket.http.response"
    headers = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in response.headers]
    await send({"type": f"{kind}.start", "status": response.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": response.body})
