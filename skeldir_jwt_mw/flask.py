"""Flask extension: one line in the app, or in its factory, guards every route (Flask 3)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

import flask

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
from .errors import ConfigurationError
from .flask_lifetime import Lifetime, open_scope
from .options import EXEMPT, EXEMPT_PREFLIGHT, NOTHING, REALM, REQUIRED
from .token import current_token

__all__ = [
    "JWT",
    "current_token",
    "first_of",
    "from_cookie",
    "from_header",
    "jwt_exempt",
    "jwt_required",
    "jwt_shaped",
]

View = TypeVar("View", bound=Callable[..., Any])

NAME = "skeldir_jwt"  # in `app.extensions` and in the environ
CONFIG = "SKELDIR_JWT"  # in `app.config`
EXEMPT_VIEW = f"{NAME}_exempt"  # an attribute of views


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
        required: bool = REQUIRED,
        exempt: Iterable[str] = EXEMPT,
        exempt_preflight: bool = EXEMPT_PREFLIGHT,
        realm: str = REALM,
        resource: Resource | None = NOTHING,
        token_getter: TokenGetter | None = NOTHING,
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
        app.wsgi_app = Lifetime(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's own docs have it

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
    setattr(view, EXEMPT_VIEW, True)
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
    if not getattr(view, EXEMPT_VIEW, False):
        guard, request = _guard(), EnvironRequest(environ)
        verdict = guard.judge_before_views(request)
        if isinstance(verdict, Response):
            if not (_answers_options() and guard.admits(request)):
                guard.tell_of_preflight(request)
                return _answer(verdict)
        elif verdict is not None:
            try:
                token = guard.verifier.verify(verdict)
            except REFUSALS as error:
                return _answer(guard.refusal(request, verdict, error))
    environ[NAME] = token
    open_scope(token)
    return None


def _answers_options() -> bool:
    """Whether Flask answers the request by itself, with the methods of the route, and calls no view."""
    request = flask.request
    return request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False)


def _answer(response: Response) -> flask.Response:
    body = [response.body]  # a list: for bytes Flask would count anew, and an answer to HEAD keeps its length
    return flask.current_app.response_class(body, response.status, list(response.headers))
