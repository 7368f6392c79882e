"""A temporary folder in which servers run unprivileged, and which goes when this process does."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import watchdog

ACCOUNTS = ("nobody", "daemon", "postgres")  # the first that exists, where this process is root
SOCKET_PATH_MAX = 103  # bytes: macOS has room for 104 with the final NUL, Linux for 108
LONGEST_SOCKET_NAME = "/.s.PGSQL.65535"


class Sandbox:
    """A folder with a path short enough for a unix socket, its account and its watchdog.

    Servers refuse to run as root, so root runs them as `nobody`; anybody else as themselves. They write a
    `.pid` file into the folder and work in it: however this process ends, the watchdog then ends them and
    removes the folder.
    """

    def __init__(self, prefix: str) -> None:
        self._identity: dict[str, Any] = {}
        account = pwd.getpwnam(_account()) if os.geteuid() == 0 else None
        if account is not None:
            self._identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self.folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_short_folder(prefix)))
        self._watchdog = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", watchdog.__file__, str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        if account is not None:
            os.chown(self.folder, account.pw_uid, account.pw_gid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def options(self) -> dict[str, Any]:
        """What to pass to `subprocess` so that a command runs in here."""
        environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
        return {"cwd": self.folder, "env": environ, "stdin": subprocess.DEVNULL, **self._identity}

    def run(self, *command: str | Path) -> str:
        """Run a command to its end and return what it printed; raises `RuntimeError` with its own words."""
        words = [str(word) for word in command]
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603
            words, capture_output=True, text=True, check=False, **self.options()
        )
        if done.returncode != 0:
            raise RuntimeError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, *command: str | Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a server that does not hear the terminal's Ctrl-C; its output goes to `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603
                [str(word) for word in command],
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self.options(),
            )

    def take_along(self, pid: int | None) -> None:
        """Have the watchdog end this child of ours too, should we die before it; None: no longer."""
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.write(f"{pid or 0}\n".encode())
        self._watchdog.stdin.flush()

    def reaches(self, path: Path) -> bool:
        """Whether the servers' account can get at the path."""
        return not self._identity or open_to_all(path)

    def close(self) -> None:
        """Let the watchdog end what still runs and remove the folder; may be called twice."""
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.close()
        self._watchdog.wait()


def open_to_all(path: Path) -> bool:
    """Whether any account can get at the path."""
    real = path.resolve()
    return all(folder.stat().st_mode & 0o001 for folder in (real, *real.parents))


def _account() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in ACCOUNTS:
        if name in known:
            return name
    raise RuntimeError(f"servers do not run as root, and there is none of the accounts {', '.join(ACCOUNTS)}")


def _short_folder(prefix: str) -> str:
    for candidate in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108  mkdtemp makes a private folder in it
        length = len(f"{candidate}/{prefix}12345678{LONGEST_SOCKET_NAME}".encode())
        fits = length <= SOCKET_PATH_MAX and os.access(candidate, os.W_OK | os.X_OK)
        if fits and (os.geteuid() != 0 or open_to_all(Path(candidate))):
            return candidate
    raise RuntimeError("no temporary folder has a path short enough for a unix socket")
