"""The README promises two commands, and CI runs those two as they are written."""

from __future__ import annotations

import subprocess

from project import ROOT
from readme import commands


def test_the_readme_sets_up_in_two_commands() -> None:
    assert len(commands()) == 2


def test_each_command_works_in_an_empty_environment() -> None:
    for command in commands():
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_one_command_is_the_whole_test_suite() -> None:
    assert len([command for command in commands() if " .venv/bin/pytest" in command]) == 1


def test_ci_runs_the_commands_as_they_are_written() -> None:
    assert "tests/guards/readme.py" in (ROOT / ".ci/run").read_text(encoding="utf-8")
