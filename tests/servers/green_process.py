"""A process of green threads that verifies what it is sent: `LIBRARY WHEN DRIVER SOCKET` are its arguments.

It connects to the socket and answers a line with a token by a line with `verified` or `refused`, each in a
green thread of its own.
"""

# ruff: noqa: E402  # what comes after the patch is the point

from __future__ import annotations

import sys
from typing import Any

library, when, driver, path = sys.argv[1:]


def patch() -> None:
    """Replace the threads and all that blocks."""
    if library == "gevent":
        import gevent.monkey

        gevent.monkey.patch_all()
    else:
        import eventlet

        eventlet.monkey_patch()


if when == "early":
    patch()

import json
import os
import socket
import threading

from skeldir_jwt_mw import JWTError, Verifier
from skeldir_jwt_mw.stores.base import Store


def django_store(dsn: str, namespace: str) -> Store:
    """The store of a Django project that has psycopg2."""
    sys.modules["psycopg"] = None  # type: ignore[assignment]
    from django.conf import settings
    from psycopg2.extensions import parse_dsn

    names = {"dbname": "NAME", "user": "USER", "host": "HOST", "port": "PORT", "password": "PASSWORD"}
    known = {names[name]: value for name, value in parse_dsn(dsn).items()}
    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **known}})
    from skeldir_jwt_mw.django.store import DjangoStore

    return DjangoStore(namespace=namespace)


def make() -> Verifier:
    """The verifier that the harness describes."""
    import service

    if driver == "psycopg":
        return service.verifier
    setup = json.loads(os.environ["SERVICE"])
    store = django_store(os.environ["SERVICE_DSN"], setup["namespace"])
    return service.verifier_of(os.environ["SERVICE"], store)


verifier = make()
if when == "late":
    patch()

connection = socket.socket(socket.AF_UNIX)
connection.connect(path)
lines = connection.makefile("r", encoding="ascii")


def judge(token: str) -> None:
    """Verify and answer."""
    try:
        verifier.verify(token)
        answer = b"verified\n"
    except JWTError:
        answer = b"refused\n"
    connection.sendall(answer)


started: Any = [threading.Thread(target=judge, args=(line.strip(),)).start() for line in lines]
