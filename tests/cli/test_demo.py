"""The demo, whole: its own Postgres and provider, real worker processes, every act."""

from __future__ import annotations

import re

import pytest
from operating import run

ACTS = 6


@pytest.mark.fleet_large
@pytest.mark.timeout(170)
def test_the_demo_shows_what_it_promises_in_80_columns_without_colours() -> None:
    ended = run("demo", "--workers", "4", environ={"TERM": "xterm-256color"}, timeout=160)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert "\x1b" not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert len(re.findall(r": held *$", ended.stdout, re.MULTILINE)) == ACTS
    assert "NOT" not in ended.stdout
    assert "4 worker processes" in ended.stdout
    assert re.search(r"All acts held in \d+ s\.", ended.stdout)
