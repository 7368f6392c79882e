"""WSGI middleware, for any app and server (PEP 3333)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from ._http import (
    REFUSALS,
    EnvironRequest,
    Guard,
    Resource,
    Response,
    TokenGetter,
    TokenVerifier,
    first_of,
    from_cookie,
    from_header,
    jwt_shaped,
)
from .options import EXEMPT, EXEMPT_PREFLIGHT, NOTHING, REALM, REQUIRED
from .rules import flag
from .token import RequestScope
from .user_key import UserKey, carried_in_environ

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["JWTMiddleware", "first_of", "from_cookie", "from_header", "jwt_shaped"]


class JWTMiddleware:
    """Lets a request through when it carries a verified token, and answers for the app when it does not.

    Sets `environ["skeldir_jwt"]` (a `VerifiedToken`, None for an anonymous request). With `remote_user=True`,
    `environ["REMOTE_USER"]` is the token's subject, with its issuer where there are several. An anonymous
    request has none, whoever set it, nor has one whose user has a name that no environ can carry. The README
    explains the options. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        app: WSGIApplication,
        verifier: TokenVerifier | None = None,
        *,
        required: bool = REQUIRED,
        exempt: Iterable[str] = EXEMPT,
        exempt_preflight: bool = EXEMPT_PREFLIGHT,
        realm: str = REALM,
        resource: Resource | None = NOTHING,
        token_getter: TokenGetter | None = NOTHING,
        user_key: UserKey | None = NOTHING,
        remote_user: bool = False,
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
        self._remote_user = flag("remote_user", remote_user)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        request = EnvironRequest(environ)
        verdict = self._guard.judge(request)
        if isinstance(verdict, Response):
            return _answer(verdict, start_response)
        token = None
        if verdict is not None:
            try:
                token = self._guard.verifier.verify(verdict)
            except REFUSALS as error:
                return _answer(self._guard.refusal(request, verdict, error), start_response)
        environ["skeldir_jwt"] = token
        if self._remote_user:
            environ.pop("REMOTE_USER", None)
            if token is not None and (name := carried_in_environ(self._guard.user_key(token))) is not None:
                environ["REMOTE_USER"] = name
        return serve_within(RequestScope(token), self.app, environ, start_response)


class Closable(Protocol):
    """What ends with a request."""

    def close(self) -> None:
        """End it; repeatable."""
        ...


def serve_within(
    scope: Closable, app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """What the app returns; `scope` is closed once no more of it is left to run, streamed bodies included."""
    try:
        body = app(environ, start_response)
    except BaseException:
        scope.close()
        raise
    wrapper = environ.get("wsgi.file_wrapper")
    if type(body) in (list, tuple) or (isinstance(wrapper, type) and isinstance(body, wrapper)):
        scope.close()  # no code of the app is left to run, and a server knows how to send these best
        return body
    return _Body(body, scope)


class _Body:
    """A streamed body; the token is there until the server has closed it, or dropped it."""

    __slots__ = ("_body", "_scope")

    def __init__(self, body: Iterable[bytes], scope: Closable) -> None:
        self._body = body
        self._scope = scope

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Close the app's iterable where it can be closed."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._scope.close()

    def __del__(self) -> None:
        self._scope.close()


def _answer(response: Response, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
    return [response.body]
