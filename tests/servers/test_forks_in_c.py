"""A server that forks in C runs no hooks of Python, and a refresh may be in the air when it does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from lines import SERVERS, Line
from running import PATIENCE, Server, running, until
from scenes import Scene, environ_of

from skeldir_jwt_mw.testing import IssuerProcess

HERE = Path(__file__).resolve().parent
WORKER_STARTED = re.compile(r"spawned uWSGI worker|Booting worker")
FORKING = {line.name: line for line in SERVERS if line.name in ("uwsgi", "uwsgi-threads", "gunicorn-preload")}


@pytest.fixture
def seen(provider: IssuerProcess, tmp_path: Path) -> Iterator[Path]:
    """A file that appears once the provider, which hangs, is asked for keys."""
    file, over = tmp_path / "seen", threading.Event()
    provider.hang()

    def watch() -> None:
        while not over.wait(0.02):
            if provider.fetches:
                file.touch()

    thread = threading.Thread(target=watch)
    thread.start()
    yield file
    over.set()
    thread.join()


@pytest.mark.parametrize("line", FORKING.values(), ids=FORKING)
@pytest.mark.parametrize("store", ["memory", "postgres"])
def test_workers_that_are_forked_while_a_refresh_is_in_the_air_serve(
    line: Line, store: str, provider: IssuerProcess, seen: Path, request: pytest.FixtureRequest
) -> None:
    dsn = request.getfixturevalue("pg_dsn") if store == "postgres" else None
    environ = {**environ_of(provider, dsn), "SERVICE_REFRESHES_UNTIL": str(seen)}
    with (
        running(Server, line, environ) as server,
        closing(Scene(server, provider, dsn)) as scene,
    ):
        until(lambda: len(WORKER_STARTED.findall(server.log)) == line.processes)
        provider.up()
        scene.ask_everybody(provider.token(), may_wait=True)
        assert server.stop() == 0
        # In memory, what the parent fetches never reaches its children.
        assert provider.fetches == (1 if dsn is not None else 1 + line.processes)


@pytest.mark.parametrize("store", ["memory", "postgres"])
def test_a_child_of_a_fork_without_hooks_verifies_while_the_parents_refresh_is_in_the_air(
    store: str, provider: IssuerProcess, seen: Path, request: pytest.FixtureRequest
) -> None:
    dsn = request.getfixturevalue("pg_dsn") if store == "postgres" else None
    environ = {**environ_of(provider, dsn, wait_budget=15.0), "SERVICE_REFRESHES_UNTIL": str(seen)}
    parent = subprocess.Popen(
        [sys.executable, "hookless.py", provider.token()],
        cwd=HERE,
        env={**os.environ, **environ, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == "forking\n"
        provider.up()
        said, _ = parent.communicate("go on\n", timeout=PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
    assert sorted(said.splitlines()) == ["child verified", "parent verified"]
    assert provider.fetches == (1 if dsn is not None else 2)
