"""Flask extension: one line in the app, or in its factory, guards every route (Flask 3)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar, overload

import flask

from ._http import (
    REFUSALS,
    EnvironRequest,
    Guard,
    Resource,
    Response,
    TokenGetter,
    TokenVerifier,
    from_cookie,
    from_header,
)
from .errors import ConfigurationError
from .token import RequestScope, VerifiedToken, current_token
from .wsgi import serve_within

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["JWT", "current_token", "from_cookie", "from_header", "jwt_exempt", "jwt_required"]

View = TypeVar("View", bound=Callable[..., Any])

NAME = "skeldir_jwt"  # in `app.extensions` and in the environ
CONFIG = "SKELDIR_JWT"  # in `app.config`
LIFETIME = f"{NAME}.lifetime"  # in the environ: what ends when the body has been sent
CONTEXT = f"{NAME}.context"  # the same where no guarded app serves the request: what ends with its context
EXEMPT = f"{NAME}_exempt"  # an attribute of views


class JWT:
    """Guards the routes of an app: `JWT(app)`, or `jwt.init_app(app)` in a factory, for any number of apps.

    A request without a verified token is answered before its view, unknown paths and static files included;
    `after_request` functions see the answer, error handlers do not. `environ["skeldir_jwt"]` holds the token.
    The options are those of every adapter; what is left out is looked up in `app.config["SKELDIR_JWT"]`, and
    without that in the `SKELDIR_JWT_…` variables. `app.extensions["skeldir_jwt"]` is the app's `Guard`, whose
    `verifier` is the app's. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        app: flask.Flask | None = None,
        verifier: TokenVerifier | None = None,
        *,
        required: bool = True,
        exempt: Iterable[str] = (),
        exempt_preflight: bool = True,
        realm: str = "api",
        resource: Resource | None = None,
        token_getter: TokenGetter | None = None,
    ) -> None:
        self._verifier = verifier
        self._options: dict[str, Any] = {
            "required": required,
            "exempt": exempt,
            "exempt_preflight": exempt_preflight,
            "realm": realm,
            "resource": resource,
            "token_getter": token_getter,
        }
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Guard the app, once; raises `ConfigurationError`."""
        if NAME in app.extensions:
            raise ConfigurationError("the app is guarded already: call init_app once")
        app.extensions[NAME] = self._make_guard(app.config.get(CONFIG))
        app.before_request(_judge)
        app.wsgi_app = _Lifetime(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's own docs have it

    def _make_guard(self, configured: Any) -> Guard:
        if configured is None:
            return Guard(self._verifier, **self._options)
        from .settings import parse_settings  # which brings the stores and the sources along

        if self._verifier is not None and isinstance(configured, Mapping):
            configured = {**configured, "VERIFIER": self._verifier}
        settings = parse_settings(configured, f"app.config[{CONFIG!r}]")
        return Guard(settings=settings, **self._options)


@overload
def jwt_required(view: View, /) -> View: ...
@overload
def jwt_required(*, scopes: Iterable[str] = ()) -> Callable[[View], View]: ...
def jwt_required(view: View | None = None, /, *, scopes: Iterable[str] = ()) -> View | Callable[[View], View]:
    """Lets a request to the view only with a token that has all of `scopes`; plain and `async` views.

    Else the answer is a 401, or a 403 that names the scopes (RFC 6750 §3.1). It stands below `@app.route`.
    """
    scopes = (scopes,) if isinstance(scopes, str) else tuple(scopes)

    def decorated(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            request = EnvironRequest(flask.request.environ)
            refusal = _guard().shortfall(request, current_token(), scopes)
            if refusal is not None:
                return _answer(refusal)
            return flask.current_app.ensure_sync(view)(*args, **kwargs)

        return guarded  # type: ignore[return-value]  # wraps() keeps what callers of the view see

    return decorated if view is None else decorated(view)


def jwt_exempt(view: View) -> View:
    """Lets every request to the view, as an anonymous one, whatever credentials it carries."""
    if isinstance(view, type):
        raise ConfigurationError(f"{view.__name__} is a class: give it `decorators = [jwt_exempt]`")
    setattr(view, EXEMPT, True)
    return view


def _guard() -> Guard:
    try:
        guard: Guard = flask.current_app.extensions[NAME]
    except KeyError:
        raise RuntimeError(
            "the app is not guarded: it needs JWT(app), or init_app(app) in its factory"
        ) from None
    return guard


def _judge() -> flask.Response | None:
    """What runs before each request (Flask's `before_request`); returning an answer skips the view."""
    environ = flask.request.environ
    view = flask.current_app.view_functions.get(flask.request.endpoint or "")
    token = None
    if not getattr(view, EXEMPT, False):
        guard, request = _guard(), EnvironRequest(environ)
        verdict = guard.judge(request)
        if isinstance(verdict, Response):
            return _answer(verdict)
        if verdict is not None:
            try:
                token = guard.verifier.verify(verdict)
            except REFUSALS as error:
                return _answer(guard.refusal(request, verdict, error))
    environ[NAME] = token
    open_scope(token)
    return None


def open_scope(token: VerifiedToken | None) -> None:
    """Let `current_token()` be `token` until the response has been sent, or the request's context ends."""
    environ = flask.request.environ
    lifetime = environ.get(LIFETIME) or environ.setdefault(CONTEXT, ExitStack())
    lifetime.callback(RequestScope(token).close)


@flask.request_tearing_down.connect  # of all apps, for whoever calls open_scope
def _end_of_context(_: object, **__: object) -> None:
    lifetime = flask.request.environ.pop(CONTEXT, None)
    if lifetime is not None:
        lifetime.close()


class _Lifetime:
    """The app between a server's call and the end of the body (PEP 3333)."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[LIFETIME] = lifetime = ExitStack()
        return serve_within(lifetime, self._app, environ, start_response)


def _answer(response: Response) -> flask.Response:
    body = [response.body]  # a list: for bytes Flask would count anew, and an answer to HEAD keeps its length
    return flask.current_app.response_class(body, response.status, list(response.headers))
