"""The stage for an app: what its command finds, and that nothing is left of it however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from operating import run, without_settings

from skeldir_jwt_mw.testing.sandbox import Sandbox
from skeldir_jwt_mw.testing.watchdog import children, runs

ROOT = Path(__file__).resolve().parents[2]
STAGE = ("-m", "skeldir_jwt_mw.testing.stage")
RUN = (
    "-c",
    "import os, sys; from skeldir_jwt_mw.testing.stage import run; sys.exit(run(sys.argv[1:], os.environ))",
)

FINDS = """if True:
    import json, os, sys
    import psycopg
    from skeldir_jwt_mw import Verifier
    Verifier.from_env().warm()
    with psycopg.connect("") as by_libpq, psycopg.connect(os.environ["DATABASE_URL"]) as by_url:
        query = "SELECT fetch_attempt_count FROM public.jwt_verification_cache"
        fetches = [connection.execute(query).fetchall() for connection in (by_libpq, by_url)]
        rights = by_url.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    print(json.dumps({"fetches": fetches, "rights": rights, "argv": sys.argv[1:]}))
    sys.exit(7)
"""

OBEYS = """if True:
    import signal, sys, time
    heard = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: heard.append(number))
    print("listening", flush=True)
    while not heard:
        time.sleep(0.01)
    time.sleep(0.3)  # a second one would come at once
    sys.exit(100 + len(heard) * 10 + heard[0])
"""


def until(condition: object, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=without_settings(os.environ),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str], last: str = "fetches") -> dict[str, str]:
    """What the stage prints, by its headings, up to one of them."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    for line in process.stdout:
        found[line[:11].strip()] = line[11:].strip()
        if line.startswith(last):
            return found
    raise AssertionError(f"it ended early: {found}")


def folder_of(lines: dict[str, str]) -> Path:
    return Path(parse_qs(urlsplit(lines["database"]).query)["host"][0])


def shell(line: str) -> str:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout


def test_the_command_finds_provider_and_database_and_its_exit_code_is_the_stages() -> None:
    elsewhere = {
        "SKELDIR_JWT_JWKS_URL": "https://login.example.com/keys",
        "SKELDIR_JWT_CONFIG": '{"ISSUER": "https://login.example.com/"}',
        "PGPORT": "1",
        "PGSERVICE": "production",
    }
    ended = run(
        "--port", "0", "--", sys.executable, "-c", FINDS, "--port", "--", environ=elsewhere, python=STAGE
    )
    assert ended.returncode == 7, ended.stdout + ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found == {
        "fetches": [[[1]], [[1]]],
        "rights": [False, False, False],  # row level security holds for such a role
        "argv": ["--port", "--"],
    }
    lines = {line[:11].strip(): line[11:] for line in ended.stdout.splitlines()[:-1]}
    assert not folder_of(lines).exists()


def test_the_lines_that_it_prints_work_and_sigterm_ends_it_all() -> None:
    with started(*STAGE, "--port", "0", "--", "cat") as process:
        lines = told(process)
        call = lines["a call"].replace("curl", "echo", 1)
        answer = shell(f"{lines['a token']}; {call}")
        assert answer.startswith("-i http://127.0.0.1:8000/orders -H Authorization: Bearer ey")
        assert json.loads(shell(lines["rotation"]))["kids"][1:]
        assert json.loads(shell(lines["fetches"])) == {"fetches": 0}
        folder = folder_of(lines)
        everything = [process.pid, *children(process.pid)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    assert not folder.exists()
    assert until(lambda: not any(map(runs, everything)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on(number: signal.Signals) -> None:
    with started(*RUN, sys.executable, "-c", OBEYS) as process:
        told(process, "listening")
        process.send_signal(number)
        assert process.wait(20) == 110 + number


def test_ctrl_c_reaches_the_command_once() -> None:
    """A terminal sends it to both, so the stage must not send it again."""
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    with started("-c", spawn, sys.executable, *RUN, sys.executable, "-c", OBEYS) as process:
        assert process.stdin is not None
        told(process, "listening")
        process.stdin.write("\x03")
        process.stdin.flush()
        assert process.wait(20) == 110 + signal.SIGINT


def test_nothing_is_left_of_a_killed_stage() -> None:
    sleeper = "import time; print('asleep', flush=True); time.sleep(600)"
    with started(*STAGE, "--port", "0", "--", sys.executable, "-c", sleeper) as process:
        lines = told(process, "asleep")
        everything = [pid for child in children(process.pid) for pid in (child, *children(child))]
        assert len(everything) >= 4  # two watchdogs, the command, the server with its processes
        process.kill()
    assert until(lambda: not any(map(runs, everything)))
    assert until(lambda: not folder_of(lines).exists())


def test_a_command_that_ended_is_nobody_to_end_later() -> None:
    """Its process id may be given out again; the sandbox's watchdog must have forgotten it."""
    with Sandbox("skeldir-st-") as sandbox, started("-c", "import time; time.sleep(600)") as process:
        sandbox.take_along(process.pid)
        sandbox.take_along(None)
        sandbox.close()
        assert process.poll() is None
    with Sandbox("skeldir-st-") as sandbox, started("-c", "import time; time.sleep(600)") as process:
        sandbox.take_along(process.pid)
        sandbox.close()
        assert process.wait(20) == -signal.SIGTERM


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("--port", port, "--", "true", python=STAGE)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"cannot use port {port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "which command?"),
        (("--",), 2, "which command?"),
        (("--", "no-such-program-here"), 127, "there is no command no-such-program-here"),
        (("--port", "70000", "--", "true"), 2, "--port chooses another"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_told_before_anything_starts(
    arguments: tuple[str, ...], code: int, text: str
) -> None:
    ended = run(*arguments, python=STAGE)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_page_tells_every_option_and_variable() -> None:
    page = (ROOT / "example_apps/README.md").read_text(encoding="utf-8")
    told = run("--help", python=STAGE).stdout
    options = set(re.findall(r"--[a-z]+", told)) - {"--help"}
    assert options == set(re.findall(r"^\| `(--[a-z]+)`", page, re.MULTILINE))
    source = (ROOT / "skeldir_jwt_mw/testing/stage.py").read_text(encoding="utf-8")
    variables = set(re.findall(r'^ +"([A-Z_]+)": ', source, re.MULTILINE))
    assert len(variables) == 10
    assert [
        name for name in variables if name.replace("SKELDIR_JWT_", "…_") not in page and name not in page
    ] == []
