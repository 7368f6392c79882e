"""Log lines: whatever is put into one stays on it and steers no terminal."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest

import skeldir_jwt_mw
from skeldir_jwt_mw import Issuer, KeysUnavailable, Verifier
from skeldir_jwt_mw.sources import CallableSource, FetchFailed

logger = logging.getLogger("skeldir_jwt_mw")
HOSTILE = "x\x1b[2J\nWARNING all is well\r\u202e\u2028\x9b"


def test_a_text_that_is_put_into_a_line_stays_on_it(caplog: pytest.LogCaptureFixture) -> None:
    logger.warning("the kid %s of %s, %d times", HOSTILE, ValueError(HOSTILE), 7)
    (message,) = caplog.messages
    assert message.isprintable()
    assert message.startswith(r"the kid x\x1b[2J\nWARNING all is well\r\u202e\u2028\x9b of x\x1b[2J")
    assert message.endswith(", 7 times")


def test_a_text_on_lines_of_its_own_keeps_them(caplog: pytest.LogCaptureFixture) -> None:
    logger.error("it broke off: %s\n%s", "a\nb", "  File \x1b[2J\n    line")
    assert caplog.messages == ["it broke off: a\\nb\n  File \\x1b[2J\n    line"]


def test_what_a_source_says_of_its_failure_is_logged_printable(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> dict[str, object]:
        raise FetchFailed(HOSTILE)

    issuer = Issuer("https://login.example.com/", audience="a", source=CallableSource(fail, identity="x"))
    verifier = Verifier(issuer)
    with pytest.raises(KeysUnavailable):
        verifier.warm()
    assert any("fetching the keys of" in message for message in caplog.messages)
    assert all(message.isprintable() for message in caplog.messages)


def test_every_module_logs_under_the_one_name_that_is_filtered() -> None:
    folder = Path(skeldir_jwt_mw.__file__).parent
    for path in folder.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("logging.getLogger", "getLogger"):
                assert ast.unparse(call.args[0]) == "'skeldir_jwt_mw'", path
