"""How long a token is the current one in Flask: until the body has been sent, or its context ends."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import flask

from .token import RequestScope, VerifiedToken
from .wsgi import serve_within

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LIFETIME = "skeldir_jwt.lifetime"  # in the environ: what ends when the body has been sent
CONTEXT = (
    "skeldir_jwt.context"  # the same where no guarded app serves the request: what ends with its context
)


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


class Lifetime:
    """The app between a server's call and the end of the body (PEP 3333)."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        environ[LIFETIME] = lifetime = ExitStack()
        return serve_within(lifetime, self._app, environ, start_response)
