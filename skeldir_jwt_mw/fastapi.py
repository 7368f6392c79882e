"""A FastAPI dependency that asks for a verified token, in HTTP routes and in WebSockets."""

# FastAPI reads the annotations of `__call__`, which has no globals to look names up in: no __future__ import.

from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import HTTPException, WebSocket, WebSocketException
from fastapi.openapi.models import APIKey, HTTPBearer, OpenIdConnect
from fastapi.openapi.models import SecurityBase as Scheme
from fastapi.requests import HTTPConnection
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from ._http import (
    REFUSALS,
    VERIFIED,
    Guard,
    Resource,
    Response,
    ScopeRequest,
    TokenGetter,
    TokenVerifier,
    Verified,
    first_of,
    from_cookie,
    from_header,
    jwt_shaped,
)
from .openapi import security_scheme
from .options import NOTHING, REALM, REQUIRED
from .token import RequestScope, VerifiedToken

__all__ = ["JWTBearer", "first_of", "from_cookie", "from_header", "jwt_shaped"]

SCHEMES: dict[str, type[Scheme]] = {"apiKey": APIKey, "http": HTTPBearer, "openIdConnect": OpenIdConnect}


class JWTBearer(SecurityBase):
    """The request's `VerifiedToken`: `token: VerifiedToken = Security(bearer, scopes=["orders:read"])`.

    Refuses a request as the ASGI middleware does, with the body under `detail`, and one whose token lacks a
    scope that the route, its routers or its other dependencies ask for. With `required=False` a request
    without a token gets None, except where scopes are asked for. Behind the middleware of the same verifier
    no token is verified twice. The other options are the middleware's; `scheme_name` and `description` are
    for OpenAPI. Two dependencies of the same verifier and options are equal. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        verifier: TokenVerifier | None = None,
        *,
        required: bool = REQUIRED,
        realm: str = REALM,
        resource: Resource | None = NOTHING,
        token_getter: TokenGetter | None = NOTHING,
        scheme_name: str = "JWTBearer",
        description: str | None = None,
    ) -> None:
        self._guard = Guard(
            verifier, required=required, realm=realm, resource=resource, token_getter=token_getter
        )
        self.scheme_name = scheme_name
        self.description = description
        self._options = (*self._guard.shown, scheme_name, description)

    @property
    def model(self) -> Scheme:  # type: ignore[override]  # the issuers of a verifier can be replaced
        """The scheme as OpenAPI shows it; read when the document is made."""
        scheme: dict[str, Any] = security_scheme(self._guard.verifier, self._guard.token_getter)
        return SCHEMES[scheme["type"]](description=self.description, **scheme)

    async def __call__(
        self, connection: HTTPConnection, security_scopes: SecurityScopes
    ) -> AsyncIterator[VerifiedToken | None]:
        """Serve as the dependency; the token is the current one until the response has been sent."""
        token = await self._verified(connection, security_scopes.scopes)
        if token is None:
            yield None
        else:
            with RequestScope(token):
                yield token

    async def _verified(self, connection: HTTPConnection, scopes: Sequence[str]) -> VerifiedToken | None:
        guard, scope = self._guard, connection.scope
        request = ScopeRequest(scope)
        verdict = guard.credentials(request)
        if verdict is None:
            if guard.required or scopes:
                raise _refused(connection, guard.unauthorized(request))
            return None
        if isinstance(verdict, Response):
            raise _refused(connection, verdict)
        token = guard.reused(scope.get(VERIFIED), verdict)
        try:
            if token is None:
                token = await guard.verifier.averify(verdict)
                scope["skeldir_jwt"] = token
                scope[VERIFIED] = Verified(guard.verifier, verdict, token)
            token.require(scopes)
        except REFUSALS as error:
            raise _refused(connection, guard.refusal(request, verdict, error)) from error
        return token

    def _identity(self) -> tuple[object, ...]:
        return (self._guard.verifier, *self._options)

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, JWTBearer) else NotImplemented

    def __hash__(self) -> int:
        return hash((id(self._guard.verifier), self.scheme_name))  # a resource may be unhashable


def _refused(connection: HTTPConnection, response: Response) -> HTTPException | WebSocketException:
    """What makes FastAPI answer; a WebSocket by its denial where the server can, else by close code 1008."""
    if isinstance(connection, WebSocket):
        too_late = connection.application_state.name != "CONNECTING"
        if too_late or "websocket.http.response" not in (connection.scope.get("extensions") or {}):
            return WebSocketException(1008)
    return HTTPException(response.status, response.content, response.own_headers)
