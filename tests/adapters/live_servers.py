"""Real servers in processes of their own, spoken to over raw sockets."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from calling import Result, filled, lines_of
from request_table import CASES, Case

HERE = Path(__file__).resolve().parent
START = 30.0  # seconds that a server may take to start


class OverSocket(ABC):
    """An adapter behind a server; whoever starts that says how to connect."""

    over_sockets = True
    everything = False
    lacks: frozenset[str] = frozenset({"views"})
    wraps: str | None = None

    @abstractmethod
    def connect(self) -> socket.socket:
        """A new connection."""

    def call(self, case: Case, tokens: Mapping[str, str]) -> Result:
        """Send the case's request as it stands in the table."""
        lines = [("X-Case", str(CASES.index(case))), *lines_of(case, tokens)]
        return self.send(case.method, filled(case.path, tokens), lines)

    def send(self, method: str, target: str, lines: list[tuple[str, str]]) -> Result:
        """Send a request without a body."""
        head = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", "Content-Length: 0"]
        head += [f"{name}: {value}" for name, value in lines]
        with self.connect() as connection:
            connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            headers = tuple((name.lower(), value) for name, value in response.getheaders())
            return Result(status=response.status, headers=headers, body=response.read())


class Server(OverSocket):
    """A server process on a unix socket."""

    has_denial = True  # for WebSockets: it can send the response of a refusal
    command: tuple[str, ...]  # `{socket}` stands for the socket's path

    def __init__(self, environ: Mapping[str, str], *, directory: Path = HERE) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sk-")  # short: socket paths have about 100 bytes
        self._socket = os.path.join(self._folder.name, "s")
        self._log = Path(self._folder.name, "log")
        command = [sys.executable, "-W", "error", "-m", *self.command]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [part.replace("{socket}", self._socket) for part in command],
                cwd=directory,
                env={**os.environ, **environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START
        while True:
            try:
                self.connect().close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise
                time.sleep(0.05)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the process; what it logged goes to the test's output."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        sys.stdout.write(self._log.read_text(encoding="utf-8", errors="replace"))
        self._folder.cleanup()

    def connect(self) -> socket.socket:
        """A new connection."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        try:
            connection.connect(self._socket)
        except OSError:
            connection.close()
            raise
        return connection

    @property
    def path(self) -> str:
        """The socket's path."""
        return self._socket


class Uvicorn(Server):
    """The ASGI adapters of `live_app`; its verifiers come from `Signer.environ`."""

    command = ("uvicorn", "live_app:asgi", "--uds", "{socket}", "--log-level", "warning")


class Gunicorn(Server):
    """The WSGI adapters of `live_app`; its verifiers come from `Signer.environ`."""

    command = (
        "gunicorn",
        "live_app:wsgi",
        "--bind",
        "unix:{socket}",
        "--threads",
        "4",
        "--log-level",
        "warning",
    )
