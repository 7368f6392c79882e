"""docs/reliability.md tells each fault with what keeps it away: tests and scenarios that exist."""

from __future__ import annotations

import re

import pytest
from pages import all_tests, code_in, section, tables, text_of

FAULTS = section(text_of("docs/reliability.md"), "Faults that were found, and what keeps them away")
ROWS = [row for table in tables(FAULTS) for row in table]
TOLD = ("what happened", "what holds now")
LONGEST = 200  # characters of a cell


def scenarios() -> set[str]:
    text = text_of("tests/simulation/named.py")
    return {name.replace("_", " ") for name in re.findall(r"^@named\ndef (\w+)\(", text, re.MULTILINE)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["what happened"][:50])
def test_what_keeps_a_fault_away_is_told_with_tests_that_exist(row: dict[str, str]) -> None:
    assert all(0 < len(row[cell]) <= LONGEST for cell in TOLD)
    names, played = set(code_in(row["tests"])), set(re.findall(r"\*([^*]+)\*", row["tests"]))
    assert names | played
    assert names <= all_tests()
    assert played <= scenarios()


def test_a_fault_is_told_once() -> None:
    told = [row["what happened"] for row in ROWS]
    assert len(told) == len(set(told))
    assert len(tables(FAULTS)) == len(re.findall(r"^### ", FAULTS, re.MULTILINE))
