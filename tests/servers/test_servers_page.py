"""docs/servers.md has the lines that are proven, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lines import FUNCTION, SERVERS, WORKERS

PAGE = (Path(__file__).resolve().parents[2] / "docs/servers.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w-]+)` \| `([^`]+)` \|", PAGE, re.MULTILINE))
LINES = {line.name: line for line in (*SERVERS, *WORKERS, FUNCTION)}


def test_the_page_has_every_line() -> None:
    assert ROWS.keys() == LINES.keys()


@pytest.mark.parametrize("name", ROWS)
def test_a_line_of_the_page_is_the_one_that_is_proven(name: str) -> None:
    command = LINES[name].command
    assert command.startswith(ROWS[name].split()[0])
    options = re.findall(r"--?[a-z][\w-]*(?: [\w]+)?", ROWS[name])
    assert [option for option in options if option not in command] == []


@pytest.mark.parametrize("name", [name for name, line in LINES.items() if line.told])
def test_a_line_with_a_warning_says_so(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` .*$", PAGE, re.MULTILINE)
    assert "with a warning" in row
