"""DjangoStore on the bench of all stores: in this process, and in one that has psycopg2 alone."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from databases import MakeAlias, database_settings
from store_bench import PostgresBench

from skeldir_jwt_mw.django.store import DjangoStore
from skeldir_jwt_mw.stores.base import Session

PATIENCE = 30.0  # seconds for an answer of the other process


class DjangoBench(PostgresBench):
    """A DjangoStore; the row is laid open as it is for a PostgresStore."""

    def __init__(self, dsn: str, make_alias: MakeAlias, *, use_gate: bool = True, **changes: Any) -> None:
        super().__init__(dsn, use_gate=use_gate)
        self.alias = make_alias(dsn, **changes)
        self.store = DjangoStore(self.alias)


class RemoteBench(PostgresBench):
    """A store in another process."""

    def __init__(self, dsn: str, store: RemoteStore) -> None:
        super().__init__(dsn)
        self.store = store


class RemoteStore:
    """A DjangoStore in another process, one call at a time."""

    shared = True
    namespace = ""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def open(self, seconds: float) -> Session:
        """A session there."""
        session: Any = _RemoteSession(self, self.ask("open", seconds))
        return session  # type: ignore[no-any-return]  # it has every method that a session has

    def ask(self, *order: Any) -> Any:
        """What an order came to there; what it raised is raised here."""
        self._pipe.send(order)
        assert self._pipe.poll(PATIENCE)
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


class _RemoteSession:
    def __init__(self, store: RemoteStore, number: int) -> None:
        self._store = store
        self._number = number

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self._store.ask(name, self._number, *arguments)


@contextmanager
def psycopg2_process() -> Iterator[RemoteStore]:
    """A process in which psycopg 3 cannot be imported, and its store; `use` gives it a database."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield RemoteStore(ours)
    finally:
        ours.close()
        process.join(10)


def serve(pipe: Connection) -> None:
    """The life of that process."""
    for name in ("psycopg", "psycopg_binary", "psycopg_c", "psycopg_pool"):
        sys.modules[name] = None  # type: ignore[assignment]  # so that importing it fails
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "unused"}},
        INSTALLED_APPS=["skeldir_jwt_mw.django"],
        USE_TZ=True,
    )
    django.setup()
    from django.db import connections

    sessions: list[Session] = []

    def obey(order: str, *arguments: Any) -> Any:
        match order:
            case "use":
                connections.settings["default"].update(database_settings(arguments[0]))
                return None
            case "driver":
                from django.db.backends.postgresql.psycopg_any import is_psycopg3

                return "psycopg" if is_psycopg3 else "psycopg2"
            case "open":
                sessions.append(DjangoStore().open(*arguments))
                return len(sessions) - 1
            case _:
                return getattr(sessions[arguments[0]], order)(*arguments[1:])

    while True:
        try:
            order = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            answer = obey(*order)
        except Exception as error:  # raised where the order came from
            answer = error
        pipe.send(answer)
