"""The Flask extension under the request table: in process, and as what a server runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import flask
from calling import InProcessWSGI
from echo import description
from identity import verifiers_of_environment
from live_servers import Gunicorn
from request_table import CASES, Case

from skeldir_jwt_mw import Verifier
from skeldir_jwt_mw.flask import JWT

METHODS = ("GET", "HEAD", "POST", "OPTIONS")


def echo() -> flask.Response:
    """A view that tells what it saw, as the apps of `echo` do."""
    request = flask.request
    seen = description(request.method, request.path, request.environ["skeldir_jwt"])
    return flask.Response(_stream(), headers=[("X-Seen", seen), ("Content-Length", "2")])


def _stream() -> Iterator[bytes]:
    yield b"ok"


def echoing(case: Case, verifier: Verifier) -> flask.Flask:
    """An app with the options of the case, made by a factory."""
    app = flask.Flask("echo")
    jwt = JWT(verifier=verifier, **case.options)
    jwt.init_app(app)
    app.add_url_rule("/", view_func=echo, methods=METHODS)
    app.add_url_rule("/<path:_>", endpoint="below", view_func=lambda _: echo(), methods=METHODS)
    return app


class InProcessFlask(InProcessWSGI):
    """An app for each case, called with the environ that a server makes."""

    lacks = frozenset({"apps"})

    def app_for(self, case: Case) -> flask.Flask:
        """The app with the options of the case."""
        return echoing(case, self._verifier_for(case))


def serving() -> Any:
    """What a server runs: a request names its case in `X-Case`."""
    verifiers = verifiers_of_environment()
    apps = [echoing(case, verifiers.for_case(case)) for case in CASES]

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return apps[int(environ["HTTP_X_CASE"])](environ, start_response)

    return serve


class GunicornFlask(Gunicorn):
    """The apps behind a server; their verifiers come from `Signer.environ`."""

    lacks = frozenset({"apps"})

    command = tuple(part.replace("live_app:wsgi", "flask_adapter:serving()") for part in Gunicorn.command)


ADAPTERS = {
    "flask": lambda verifiers, _: nullcontext(InProcessFlask(verifiers.for_case)),
    "flask behind gunicorn": lambda _, signer: GunicornFlask(signer.environ),
}
