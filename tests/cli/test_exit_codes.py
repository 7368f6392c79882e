"""Exit codes, errors and forms of real processes: `python -m skeldir_jwt_mw …`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from operating import environ_of, run

from skeldir_jwt_mw import Verifier, __version__
from skeldir_jwt_mw.testing import LoopbackIssuer

NOWHERE = "postgresql://nobody:hunter2@127.0.0.1:1/nothing"


def test_0_is_done(settings: dict[str, str], idp: LoopbackIssuer) -> None:
    Verifier.from_env(settings).warm()
    ended = run("verify", idp.token(), environ=settings)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "sub: user-1" in ended.stdout
    ended = run("verify", "-", environ=settings, stdin=idp.token() + "\n")
    assert ended.returncode == 0


def test_1_is_refused(settings: dict[str, str], idp: LoopbackIssuer) -> None:
    Verifier.from_env(settings).warm()
    token = idp.token(expires_in=-90)
    ended = run("verify", token, environ=settings)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "skeldir-jwt: expired: the token has expired\n" in ended.stderr
    assert token[:20] not in ended.stderr
    ended = run("verify", idp.token(), "--scope", "orders:delete", environ=settings)
    assert ended.returncode == 1
    assert "skeldir-jwt: insufficient_scope: the token lacks a required scope\n" in ended.stderr
    ended = run("explain", token, environ=settings)
    assert ended.returncode == 1
    assert "verdict: refused\ncode: expired\n" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "environ", "text"),
    [
        (["status"], {}, "skeldir-jwt: SKELDIR_JWT_ISSUER is missing"),
        (["migrate"], {}, "skeldir-jwt: there is no database; set SKELDIR_JWT_DATABASE_URL or give --dsn\n"),
        (["migrate"], {"SKELDIR_JWT_DATABASE_URL": " "}, "skeldir-jwt: SKELDIR_JWT_DATABASE_URL is empty"),
        (["status"], {"SKELDIR_JWT_ISUER": "x"}, "did you mean 'SKELDIR_JWT_ISSUER'"),
        (["verify"], {}, "Missing argument"),
        (["nonsense"], {}, "No such command 'nonsense'"),
        (["status", "--nonsense"], {}, "No such option"),
        (["demo", "--workers", "1"], {}, "1 is not in the range 2<=x<=256"),
    ],
)
def test_2_is_wrong_usage_or_settings(arguments: list[str], environ: dict[str, str], text: str) -> None:
    ended = run(*arguments, environ=environ)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr


def test_2_is_a_database_without_the_table(idp: LoopbackIssuer, new_database: Callable[[], str]) -> None:
    for command in ("status", "refresh"):
        ended = run(command, environ=environ_of(idp, new_database()))
        assert ended.returncode == 2
        assert "skeldir-jwt migrate" in ended.stderr


def test_3_is_a_provider_or_a_database_that_is_away(settings: dict[str, str], idp: LoopbackIssuer) -> None:
    idp.down(retry_after=40)
    ended = run("refresh", environ=settings)
    assert ended.returncode == 3
    assert "signing keys are unavailable (failed); try again in 40 s\n" in ended.stderr
    ended = run("status", environ=settings)
    assert ended.returncode == 3
    assert "skeldir-jwt: no keys without a fetch, and this only reads: " in ended.stderr
    assert "ready: False" in ended.stdout
    for command in ("verify", "explain"):
        assert run(command, idp.token(), environ=settings).returncode == 3


@pytest.mark.parametrize("command", ["status", "migrate", "refresh"])
def test_3_is_a_database_that_is_not_there(command: str, idp: LoopbackIssuer) -> None:
    ended = run(command, environ=environ_of(idp, NOWHERE))
    assert ended.returncode == 3
    assert ended.stderr.splitlines()[-1].startswith("skeldir-jwt: ")
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr + ended.stdout


def test_without_click_it_says_what_to_install() -> None:
    blocker = (
        "import sys; sys.modules['click'] = None; sys.argv = ['skeldir-jwt', 'status'];"
        " from skeldir_jwt_mw.cli import main; main()"
    )
    ended = run(python=("-c", blocker))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "skeldir-jwt: click is not installed; pip install 'skeldir_jwt_mw[cli]' brings it along\n"
    )


def test_another_module_that_is_missing_is_not_taken_for_click() -> None:
    blocker = (
        "import sys; sys.modules['skeldir_jwt_mw.migrate'] = None; sys.argv = ['skeldir-jwt', 'status'];"
        " from skeldir_jwt_mw.cli import main; main()"
    )
    ended = run(python=("-c", blocker))
    assert ended.returncode == 1
    assert "ModuleNotFoundError" in ended.stderr
    assert "pip install" not in ended.stderr


def test_the_installed_script_is_the_same_program() -> None:
    script = shutil.which("skeldir-jwt", path=str(Path(sys.executable).parent))
    assert script is not None
    by_script = run(
        script, "--version", python=("-c", "import subprocess, sys; subprocess.run(sys.argv[1:])")
    )
    by_module = run("--version")
    assert by_script.stdout == by_module.stdout == f"skeldir-jwt, version {__version__}\n"


def test_outside_of_a_terminal_there_are_no_colours_and_no_long_lines(
    settings: dict[str, str], idp: LoopbackIssuer
) -> None:
    Verifier.from_env(settings).warm()
    for arguments in (["--help"], ["status"], ["seal-key"], ["migrate"], ["explain", "--help"]):
        ended = run(*arguments, environ={**settings, "TERM": "xterm-256color"})
        assert ended.returncode == 0
        assert "\x1b" not in ended.stdout
        assert max(map(len, ended.stdout.splitlines())) <= 80
