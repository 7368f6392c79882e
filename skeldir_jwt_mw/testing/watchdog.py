"""Ends a test's servers and removes their folder once the process that started them is gone.

Run as a script with the folder as its argument and a pipe as its standard input: the pipe ends when the other
process closes it or dies, however it dies. A line in the pipe names one more process to end then; 0 takes it
back. Only the standard library is imported, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

POLL = 0.5  # seconds between two looks at the parent; a forked child may hold the pipe open for longer
PATIENCE = 8.0  # seconds for servers to end; Postgres itself kills its backends after 5


def children(pid: int) -> list[int]:
    """Process ids of the direct children of a process."""
    if not os.path.isdir("/proc/self"):
        command = ["/bin/ps", "-A", "-o", "pid=,ppid="]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        pairs = [line.split() for line in listed.stdout.splitlines()]
        return [int(child) for child, parent in pairs if int(parent) == pid]
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == pid]


def runs(pid: int) -> bool:
    """Whether the process is there and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _status(str(pid))[:1] != ["Z"]


def end(pids: list[int], number: signal.Signals = signal.SIGQUIT) -> None:
    """End servers by that signal, also stopped ones, and wait until they are gone."""
    for pid in pids:
        for child in children(pid):
            _signal(child, signal.SIGCONT)
        _signal(pid, number)
        _signal(pid, signal.SIGCONT)
    deadline = time.monotonic() + PATIENCE
    while any(map(runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in filter(runs, pids):
        for process in [pid, *children(pid)]:
            _signal(process, signal.SIGKILL)


def pids_in(folder: Path) -> list[int]:
    """The servers that have left a `.pid` file in the folder or one below, and still work in it."""
    found = []
    for file in [*folder.glob("*.pid"), *folder.glob("*/*.pid")]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(file.read_text().splitlines()[0])
            if _works_in(pid, folder):
                found.append(pid)
    return found


def _works_in(pid: int, folder: Path) -> bool:
    """Guards against a left-over file whose process id has meanwhile gone to somebody else."""
    if not os.path.isdir("/proc/self"):
        return True
    return os.readlink(f"/proc/{pid}/cwd").startswith(str(folder))


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _status(pid: str) -> list[str]:
    """State, parent and more of a process; empty where it is gone or there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: str) -> int:
    status = _status(pid)
    return int(status[1]) if len(status) > 1 else 0


def main(folder: Path) -> None:
    """Wait for the parent to go, then leave nothing of its servers behind."""
    parent = os.getppid()
    told = b""
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], POLL)
        if readable:
            lines = os.read(sys.stdin.fileno(), 512)
            if not lines:
                break
            told = (told + lines)[-512:]
    end([pid for pid in map(int, told.split()[-1:]) if pid], signal.SIGTERM)
    end(pids_in(folder))
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
