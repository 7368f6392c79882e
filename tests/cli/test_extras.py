"""Whatever optional module is not installed, no command answers with a traceback: it says what to install."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

import pytest
from operating import environ_of, run

from skeldir_jwt_mw.extras import EXTRA_OF
from skeldir_jwt_mw.testing import LoopbackIssuer

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
COMMAND = "from skeldir_jwt_mw.cli import main; main()"
STAGE = "from skeldir_jwt_mw.testing.stage import main; sys.exit(main())"
ENTRIES = {
    "status": (COMMAND, ["status"]),
    "migrate": (COMMAND, ["migrate"]),
    "verify": (COMMAND, ["verify", "a.b.c"]),
    "explain": (COMMAND, ["explain", "a.b.c"]),
    "refresh": (COMMAND, ["refresh"]),
    "seal-key": (COMMAND, ["seal-key"]),
    "demo": (COMMAND, ["demo", "--dsn", NOWHERE]),
    "stage": (STAGE, ["--port", "0", "--", sys.executable, "-c", ""]),
}
# The modules without which each entry cannot do its work.
NEEDS = {
    "status": {"click", "psycopg"},
    "migrate": {"click", "psycopg"},
    "verify": {"click", "psycopg"},
    "explain": {"click", "psycopg"},
    "refresh": {"click", "psycopg"},
    "seal-key": {"click"},
    "demo": {"click", "rich", "psycopg"},
    "stage": {"psycopg"},
}


@pytest.mark.parametrize("module", EXTRA_OF)
@pytest.mark.parametrize("entry", ENTRIES)
def test_without_an_optional_module_a_command_works_or_says_what_to_install(
    entry: str, module: str, idp: LoopbackIssuer
) -> None:
    code, arguments = ENTRIES[entry]
    blocked = f"import sys; sys.modules[{module!r}] = None; sys.argv = ['x', *{arguments!r}]; {code}"
    ended = run(python=("-c", blocked), environ=environ_of(idp, NOWHERE))
    assert "Traceback" not in ended.stderr, ended.stderr
    if module in NEEDS[entry]:
        assert ended.returncode == 2
        assert re.search(rf"{module}.*pip install 'skeldir_jwt_mw\[{EXTRA_OF[module]}\]'", ended.stderr)
        assert len(ended.stderr.splitlines()) == 1
    else:
        assert "pip install" not in ended.stderr


def test_the_extras_are_those_of_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert set(EXTRA_OF.values()) <= set(setup["options.extras_require"])


WITHOUT_SERVER = """if True:
    import sys
    from skeldir_jwt_mw.testing import postgres
    postgres.SYSTEM_FOLDERS = ()
    postgres.importlib.util.find_spec = postgres.shutil.which = lambda *_, **__: None
"""


@pytest.mark.parametrize(
    "then",
    [
        "import types; from skeldir_jwt_mw.testing import stage;"
        " stage.shutil = types.SimpleNamespace(which=lambda *_, **__: 'x');"
        " sys.argv = ['x', '--port', '0', '--', 'true']; sys.exit(stage.main())",
        f"sys.argv = ['x', 'demo']; {COMMAND}",
    ],
    ids=["stage", "demo"],
)
def test_without_a_server_s_programs_it_is_said_what_to_install(then: str) -> None:
    ended = run(python=("-c", f"{WITHOUT_SERVER}    {then}"))
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.returncode == 2
    assert "no PostgreSQL server was found: install" in ended.stderr
