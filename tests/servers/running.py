"""Runs a server in a process group of its own, asks it, and sees it go."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lines import Line

HERE = Path(__file__).resolve().parent
PATIENCE = 60.0  # seconds until something that must come about has


def until(come_about: Callable[[], object]) -> None:
    """Wait until it has come about; an assertion fails where it never does."""
    ends = time.monotonic() + PATIENCE
    while not come_about():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.02)


class Server:
    """A server on a unix socket. `ask` may be called from any thread."""

    def __init__(self, line: Line, folder: Path, environ: Mapping[str, str]) -> None:
        self.line = line
        self.folder = folder
        self.socket = str(folder / "s")
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [part.replace("{socket}", self.socket) for part in line.argv],
                cwd=HERE,
                env=self._environ(environ),
                stdin=subprocess.PIPE,
                stdout=self._stdout(log),
                stderr=log,
                start_new_session=True,
            )

    def _environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        path = os.pathsep.join([str(HERE), *filter(None, sys.path)])
        return {**os.environ, **environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}

    def _stdout(self, log: Any) -> Any:
        return log

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_until_it_listens(self) -> None:
        """Wait until it takes connections."""
        until(lambda: self._listens() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.connect(self.socket)
            return True
        return False

    def connect(self) -> socket.socket:
        """A new connection."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(self.socket)
        except OSError:
            connection.close()
            raise
        return connection

    def ask(self, token: str) -> tuple[int, int | None]:
        """The status of the answer to a request with this token, and the process that let it through."""
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = self.connect()
        try:
            headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
            connection.request("GET", "/", headers=headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        return response.status, json.loads(body)["pid"] if response.status == 200 else None

    def stop(self) -> int:
        """Ask the leading process to end, as a supervisor does; returns its exit status once all are gone."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        until(self._is_gone)
        return self.process.returncode

    def _is_gone(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def end(self) -> None:
        """Whatever happened, nothing of it is left; its log goes to the test's output."""
        if not self._is_gone():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        sys.stdout.write(self.log)


class Worker(Server):
    """A worker of Celery."""

    def __init__(self, line: Line, folder: Path, environ: Mapping[str, str]) -> None:
        from tasks import queue_in

        self._queue = queue_in(folder)
        super().__init__(line, folder, {**environ, "SERVICE_FOLDER": str(folder)})

    def wait_until_it_listens(self) -> None:
        """Tasks wait in the queue until it does."""

    def ask(self, token: str) -> tuple[int, int | None]:
        """Send a task and wait for its result."""
        result = self._queue.send_task("verify", [token], ignore_result=False)
        until(lambda: result.ready() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        status, pid = result.result
        return status, pid if status == 200 else None


class Function(Server):
    """A function that is frozen whenever it has no event, as AWS Lambda does."""

    def __init__(self, line: Line, folder: Path, environ: Mapping[str, str]) -> None:
        self._one_at_a_time = threading.Lock()
        super().__init__(line, folder, environ)

    def _stdout(self, log: Any) -> Any:
        return subprocess.PIPE

    def wait_until_it_listens(self) -> None:
        """Its events wait in a pipe."""

    def ask(self, token: str) -> tuple[int, int | None]:
        """Thaw it, have it handle an event, freeze it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self._one_at_a_time:
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.write(f"{token}\n".encode())
            self.process.stdin.flush()
            status, body = json.loads(self.process.stdout.readline())
            self.process.send_signal(signal.SIGSTOP)
        return status, json.loads(body)["pid"] if status == 200 else None

    def stop(self) -> int:
        """Thaw it and end its events."""
        assert self.process.stdin is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        until(self._is_gone)
        return self.process.returncode


Kind = TypeVar("Kind", bound=Server)


@contextlib.contextmanager
def running(kind: type[Kind], line: Line, environ: Mapping[str, str]) -> Iterator[Kind]:
    """A server of this line; nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="sk-") as folder:  # short: socket paths have about 100 bytes
        server = kind(line, Path(folder), environ)
        try:
            yield server
        finally:
            server.end()
