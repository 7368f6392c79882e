"""A throw-away PgBouncer in transaction mode, in front of any Postgres server.

It refuses start-up parameters that it does not track, as poolers do where nobody has told them otherwise.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from .sandbox import Sandbox

PORT = 6432  # part of the socket's name only
PATIENCE = 10.0  # seconds


class PgBouncerMissing(RuntimeError):
    """The program was not found; the text says what to install."""


class PgBouncer:
    """A pool of `pool_size` server connections on a unix socket, as a context manager.

    `dsn` is a connection string of the server behind it; every client becomes its user. Raises
    `PgBouncerMissing`, or `RuntimeError` with the program's own log where it does not start.
    """

    def __init__(self, dsn: str, *, pool_size: int = 4) -> None:
        self._server = dsn
        self._pool_size = pool_size
        self._sandbox: Sandbox | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
        if program is None:
            raise PgBouncerMissing("pgbouncer was not found: install the package `pgbouncer` of your system")
        self._sandbox = Sandbox("skeldir-pb-")
        try:
            self._start(self._sandbox, program)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def dsn(self, dbname: str) -> str:
        """A URI for a database of the server, through the pool."""
        assert self._sandbox is not None
        folder = quote(str(self._sandbox.folder))
        return f"postgresql://pooled@/{quote(dbname, safe='')}?host={folder}&port={PORT}"

    def close(self) -> None:
        """Stop it and remove its folder; may be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        if self._sandbox is not None:
            self._sandbox.close()

    def _start(self, sandbox: Sandbox, program: str) -> None:
        folder = sandbox.folder
        config, log = folder / "pgbouncer.ini", folder / "log"
        config.write_text(
            "[databases]\n"
            f"* = {_server_words(self._server)}\n"
            "[pgbouncer]\n"
            "listen_addr =\n"
            f"listen_port = {PORT}\n"
            f"unix_socket_dir = {folder}\n"
            f"pidfile = {folder}/pgbouncer.pid\n"
            "auth_type = any\n"
            "pool_mode = transaction\n"
            f"default_pool_size = {self._pool_size}\n"
            "max_client_conn = 500\n"
            "server_round_robin = 1\n"
        )
        self._process = sandbox.start(program, config, log=log)
        deadline = time.monotonic() + PATIENCE
        while not ((folder / "pgbouncer.pid").exists() and _listens(folder / f".s.PGSQL.{PORT}")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)


def _listens(path: Path) -> bool:
    """Whether somebody takes connections there; the file alone is there a moment earlier."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _server_words(dsn: str) -> str:
    import psycopg

    given = psycopg.conninfo.conninfo_to_dict(dsn)
    names = ("host", "port", "user", "password")
    return " ".join(f"{name}={given[name]}" for name in names if given.get(name))
