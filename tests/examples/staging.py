"""An example as its README starts it: the same lines, with ports that are free."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "example_apps"
START = 60.0  # seconds that provider, Postgres and workers may take together, on a busy machine
STAGE = "python -m skeldir_jwt_mw.testing.stage"
FLOOR = 0.2  # seconds
# A test rotates sooner after the README's rotation than a provider would, and the machine may be busy.
PATIENCE = {
    "SKELDIR_JWT_REFRESH_MIN_FLOOR_SECONDS": str(FLOOR),
    "SKELDIR_JWT_FETCH_TIMEOUT_SECONDS": "20",
    "SKELDIR_JWT_WAIT_BUDGET_SECONDS": "25",
    "SKELDIR_JWT_LEASE_SECONDS": "30",
}
COUNTERS = "SELECT fetch_attempt_count, refresh_event_count FROM public.jwt_verification_cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a README's shell block, and what its comment says that it prints."""

    command: str
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back over HTTP."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def shell_blocks(name: str) -> list[list[str]]:
    """The lines of each shell block of an example's README."""
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    return [block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def start_commands(name: str) -> list[str]:
    """How its README starts an example: one command, or one for each of several servers."""
    return [line for line in shell_blocks(name)[0] if line.startswith(STAGE)]


def lines_for_another_terminal(name: str) -> list[Line]:
    """What its README does with an example that runs."""
    return [_line(line) for block in shell_blocks(name)[1:] for line in block]


def _line(text: str) -> Line:
    command, _, comment = text.partition(" # ")
    expected = tuple(part.strip() for part in comment.split(", ")) if comment else ()
    return Line(command=command.rstrip(), expected=expected)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Staged:
    """The example of that name, started as its README says, as a context manager."""

    warnings = "error"  # PYTHONWARNINGS of stage and workers

    def __init__(self, name: str, *, start: int = 0, environ: Mapping[str, str] | None = None) -> None:
        """`start` says which of the README's start commands is meant."""
        self.folder = EXAMPLES / name
        self._ports = {"8800": str(free_port()), "8000": str(free_port())}
        self.provider = self.ported("http://127.0.0.1:8800")
        self.app = self.ported("http://127.0.0.1:8000")
        self.database = ""
        self._workshop = tempfile.TemporaryDirectory(prefix="sk-")
        self._log = Path(self._workshop.name, "log")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SKELDIR_")},
            **PATIENCE,
            **(environ or {}),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}",
        }
        command = self.ported(start_commands(name)[start].replace(STAGE, f"{STAGE} --port 8800"))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env={**self.environ, "PYTHONWARNINGS": self.warnings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"{self.folder.name} did not start")
            try:
                if self.is_up():
                    break
            except OSError:
                time.sleep(0.05)
        found = re.search(r"^database +(\S+)$", self.log, re.MULTILINE)
        assert found is not None
        self.database = found[1]
        return self

    def is_up(self) -> bool:
        """Whether it serves."""
        return self.get("/health").status == 200

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop it as Ctrl-C does; what it logged goes to the test's output."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        sys.stdout.write(self.log)
        self._workshop.cleanup()

    @property
    def log(self) -> str:
        """What stage and workers have printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ported(self, text: str) -> str:
        """The text with this run's ports instead of the README's."""
        return re.sub(r"\b(8800|8000)\b", lambda found: self._ports[found[0]], text)

    def script(self, lines: list[Line]) -> list[str]:
        """Run the lines in one shell, as they are written; what each of them printed."""
        shell = "\n".join(f"{line.command}\nprintf '\\036'" for line in lines)
        done = subprocess.run(
            ["bash", "-c", self.ported(shell)],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        sys.stdout.write(done.stdout + done.stderr)
        return done.stdout.split("\x1e")[:-1]

    def surprises(self) -> list[tuple[str, str, str]]:
        """Run the README's lines for the other terminal: where they differ, command, expectation, output."""
        lines = lines_for_another_terminal(self.folder.name)
        printed = self.script(lines)
        assert len(printed) == len(lines)
        assert sum(bool(line.expected) for line in lines) >= 8
        return [
            (line.command, part, output)
            for line, output in zip(lines, printed, strict=True)
            for part in line.expected
            if part not in output
        ]

    def counters(self) -> tuple[int, int, int]:
        """Fetches by the provider's count, fetches and refreshes by the row's, none of them under way."""
        with psycopg.connect(self.database) as connection:
            found = connection.execute(COUNTERS).fetchone()
        assert found is not None
        return (self.fetches, *found)

    def token(self, sub: str = "ada", scope: str = "orders:read", *, tenant: str = "acme") -> str:
        """A new token, of the newest key."""
        form = urllib.parse.urlencode({"sub": sub, "scope": scope, "tenant": tenant}).encode()
        with urllib.request.urlopen(f"{self.provider}/token", form, timeout=30) as answer:
            return str(json.load(answer)["access_token"])

    def rotate(self) -> None:
        """The provider publishes a new key and signs with it."""
        urllib.request.urlopen(f"{self.provider}/rotate", b"", timeout=30).close()

    @property
    def fetches(self) -> int:
        """How often the key set was fetched from the provider."""
        with urllib.request.urlopen(f"{self.provider}/fetches", timeout=30) as answer:
            return int(json.load(answer)["fetches"])

    def get(self, path: str, token: str | None = None, *, body: Any = None) -> Answer:
        """Ask the app, over a connection of its own, which any of the workers may accept."""
        headers = {"Connection": "close"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"{self.app}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return Answer(status=answer.status, body=answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, body=error.read())
