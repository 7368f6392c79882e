"""An orders service without a web: tasks act for the caller whose token came with them."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import psycopg
from broker import Refused, app
from celery import Task
from celery.signals import worker_init, worker_process_init

from skeldir_jwt_mw import InsufficientScope, InvalidToken, JWTError, KeysUnavailable, Verifier, current_token
from skeldir_jwt_mw.token import RequestScope

verifier = Verifier.from_env()  # before the fork: each process of the pool has it, and nothing runs yet
DATABASE_URL = os.environ["DATABASE_URL"]


class CallersTask(Task):
    """A task that runs with its caller's token, in the header `token`, if it is good when its turn comes."""

    abstract = True
    throws = (Refused,)  # an answer, and no failure of the worker
    scopes: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            token = verifier.verify(self.request.get("token") or "", scopes=self.scopes)
        except KeysUnavailable as error:  # our fault, and it passes: the token may be good
            raise self.retry(exc=error, countdown=error.retry_after, max_retries=10) from None
        except (InvalidToken, InsufficientScope) as error:
            raise Refused(error.code) from None
        with RequestScope(token):
            return self.run(*args, **kwargs)


def caller() -> str:
    """Whose task this is, as in a request: anywhere below, without passing it along."""
    token = current_token()
    return "nobody" if token is None else token.subject


@app.task(name="orders.place", base=CallersTask, scopes=("orders:write",))
def place(item: str) -> dict[str, Any]:
    with psycopg.connect(DATABASE_URL) as connection:
        (number,) = connection.execute(
            "INSERT INTO orders (owner, item) VALUES (%s, %s) RETURNING id", (caller(), item)
        ).fetchone()
    return {"id": number, "owner": caller(), "worker": os.getpid()}


@app.task(name="orders.read", base=CallersTask, scopes=("orders:read",))
def read() -> list[str]:
    with psycopg.connect(DATABASE_URL) as connection:
        rows = connection.execute("SELECT item FROM orders WHERE owner = %s ORDER BY item", (caller(),))
        return [item for (item,) in rows]


@worker_init.connect
def create_table(**_: Any) -> None:
    with psycopg.connect(DATABASE_URL) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS orders"
            " (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text NOT NULL, item text NOT NULL)"
        )


@worker_process_init.connect
def load_keys(**_: Any) -> None:
    """In each process of the pool, after the fork: all of them share one fetch."""
    with contextlib.suppress(JWTError):  # start without the provider too; tasks are retried then
        verifier.warm()
