"""An orders service in plain WSGI. Everything but `/health` and `/ready` needs an access token."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from psycopg_pool import ConnectionPool

from skeldir_jwt_mw import JWTError, Verifier, current_token
from skeldir_jwt_mw.wsgi import JWTMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Answer = tuple[int, Any]  # a status, and what is sent as JSON


def keep_keys() -> None:
    """Looks for keys where there are none, at its own pace; probes only read. A thread of each worker."""
    while True:
        pause = 1.0
        try:
            if not verifier.ready:
                verifier.warm()
        except JWTError as error:  # the log has the reason
            pause = getattr(error, "retry_after", 30.0)
        time.sleep(pause)


verifier = Verifier.from_env()
with contextlib.suppress(JWTError):  # start without the provider too; /ready tells
    verifier.warm()
threading.Thread(target=keep_keys, daemon=True).start()

database = ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=4, open=True)
with database.connection() as connection:
    connection.execute("SELECT pg_advisory_xact_lock(1)")  # the workers start together
    connection.execute(
        "CREATE TABLE IF NOT EXISTS orders"
        " (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text NOT NULL, item text NOT NULL)"
    )


def caller() -> str:
    """Whose request this is: anywhere below the middleware, without passing the environ along."""
    token = current_token()
    return "nobody" if token is None else token.subject


def health(_: WSGIEnvironment) -> Answer:
    return 200, {"status": "up"}


def ready(_: WSGIEnvironment) -> Answer:
    return (200 if verifier.ready else 503), {"ready": verifier.ready}


def whoami(environ: WSGIEnvironment) -> Answer:
    scopes = sorted(environ["skeldir_jwt"].scopes)
    return 200, {"user": environ["REMOTE_USER"], "scopes": scopes, "worker": os.getpid()}


def orders(_: WSGIEnvironment) -> Answer:
    with database.connection() as connection:
        rows = connection.execute("SELECT id, item FROM orders WHERE owner = %s ORDER BY id", (caller(),))
        return 200, [{"id": number, "item": item} for number, item in rows]


def new_order(environ: WSGIEnvironment) -> Answer:
    sent = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    with database.connection() as connection:
        number = connection.execute(
            "INSERT INTO orders (owner, item) VALUES (%s, %s) RETURNING id", (caller(), sent["item"])
        ).fetchone()[0]
    return 201, {"id": number, "item": sent["item"]}


def export() -> Iterator[bytes]:
    """Made while the response is sent, by a cursor in the database; the token is there until its end."""
    with database.connection() as connection, connection.cursor("export") as cursor:
        cursor.execute("SELECT id, item FROM orders WHERE owner = %s ORDER BY id", (caller(),))
        for number, item in cursor:
            yield f"{number},{item},{caller()}\n".encode()


# Method and path: the view, and the scope that it asks for.
ROUTES: dict[tuple[str, str], tuple[Callable[[WSGIEnvironment], Answer], str | None]] = {
    ("GET", "/health"): (health, None),
    ("GET", "/ready"): (ready, None),
    ("GET", "/whoami"): (whoami, None),
    ("GET", "/orders"): (orders, "orders:read"),
    ("POST", "/orders"): (new_order, "orders:write"),
}


def service(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The app without its guard."""
    token = environ["skeldir_jwt"]
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if (method, path) == ("GET", "/orders/export") and token.has_scopes("orders:read"):
        start_response("200 OK", [("Content-Type", "text/csv; charset=utf-8")])
        return export()
    view, scope = ROUTES.get((method, path), (None, None))
    if view is None:
        status, content = 404, {"error": "not_found"}
    elif scope is not None and not token.has_scopes(scope):
        status, content = 403, {"error": "insufficient_scope", "scope": scope}
    else:
        status, content = view(environ)
    body = json.dumps(content).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{status} {HTTPStatus(status).phrase}", headers)
    return [body]


app = JWTMiddleware(service, verifier=verifier, exempt=("/health", "/ready"), remote_user=True)
