"""An orders service on Flask. Every view needs an access token but those that are `@jwt_exempt`."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

from flask import Blueprint, Flask, Response, current_app, request, stream_with_context
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from skeldir_jwt_mw import JWTError, Verifier
from skeldir_jwt_mw.flask import JWT, current_token, jwt_exempt, jwt_required

jwt = JWT()
shop = Blueprint("shop", __name__)


def create_app() -> Flask:
    """The app; settings come from the `SKELDIR_JWT_…` variables, or from `app.config["SKELDIR_JWT"]`."""
    app = Flask(__name__)
    jwt.init_app(app)
    app.register_blueprint(shop)
    app.extensions["database"] = database = ConnectionPool(os.environ["DATABASE_URL"], min_size=1, open=True)
    with database.connection() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(1)")  # the workers start together
        connection.execute(
            "CREATE TABLE IF NOT EXISTS orders"
            " (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text NOT NULL, item text NOT NULL)"
        )
    verifier = app.extensions["skeldir_jwt"].verifier
    with contextlib.suppress(JWTError):  # start without the provider too; /ready tells
        verifier.warm()
    threading.Thread(target=keep_keys, args=(verifier,), daemon=True).start()
    return app


def keep_keys(verifier: Verifier) -> None:
    """Looks for keys where there are none, at its own pace; probes only read. A thread of each worker."""
    while True:
        pause = 1.0
        try:
            if not verifier.ready:
                verifier.warm()
        except JWTError as error:  # the log has the reason
            pause = getattr(error, "retry_after", 30.0)
        time.sleep(pause)


def database() -> ConnectionPool:
    return current_app.extensions["database"]


@shop.get("/health")
@jwt_exempt
def health() -> dict[str, str]:
    return {"status": "up"}


@shop.get("/ready")
@jwt_exempt
def ready() -> tuple[dict[str, bool], int]:
    verifier = current_app.extensions["skeldir_jwt"].verifier
    return {"ready": verifier.ready}, 200 if verifier.ready else 503


@shop.get("/whoami")
def whoami() -> dict[str, str | int | list[str]]:
    token = current_token()
    return {"user": token.subject, "scopes": sorted(token.scopes), "worker": os.getpid()}


@shop.get("/orders")
@jwt_required(scopes=["orders:read"])
def orders() -> list[dict[str, str | int]]:
    with database().connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT id, item FROM orders WHERE owner = %s ORDER BY id", (current_token().subject,))
        return cursor.fetchall()


@shop.post("/orders")
@jwt_required(scopes=["orders:write"])
def new_order() -> tuple[dict[str, str | int], int]:
    item = request.get_json()["item"]
    with database().connection() as connection:
        (number,) = connection.execute(
            "INSERT INTO orders (owner, item) VALUES (%s, %s) RETURNING id", (current_token().subject, item)
        ).fetchone()
    return {"id": number, "item": item}, 201


@shop.get("/orders/export")
@jwt_required(scopes=["orders:read"])
def export() -> Response:
    @stream_with_context
    def lines() -> Iterator[str]:
        """Made while the response is sent, by a cursor in the database; the token is there until its end."""
        with database().connection() as connection, connection.cursor("export") as cursor:
            query = "SELECT id, item FROM orders WHERE owner = %s ORDER BY id"
            cursor.execute(query, (current_token().subject,))
            for number, item in cursor:
                yield f"{number},{item},{current_token().subject}\n"

    return Response(lines(), mimetype="text/csv")
