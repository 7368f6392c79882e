"""The advisories that have a test of their own, as docs/security.md lists them.

The docstring of each test in tests/advisories says which advisories it is about and what went wrong:
`CVE-…, GHSA-…: what; CVE-…: what.` `python tests/docs/advisories.py` writes the table anew from them.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/security.md"
HEADING = "## What went wrong elsewhere\n"
NEXT = "## The tests of each rule\n"
INTRODUCTION = """
Advisories on libraries of the kind, and the test that would fail if the same went wrong here. Each of
these tests fails when the guard behind it is taken out: `python tests/guard_removals.py` takes them out, one
by one.
"""


class Row(NamedTuple):
    """What one test says of some advisories."""

    advisories: tuple[str, ...]
    what: str
    family: str  # "T-ALG"
    path: str
    test: str


def rows() -> list[Row]:
    """All that the tests' docstrings say, in the order of the tree."""
    found = []
    for path in sorted(ROOT.glob("tests/advisories/test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                told = " ".join((ast.get_docstring(node) or "").split()).rstrip(".")
                family = "T-" + node.name.split("_")[2].upper()
                for part in re.split(r"; (?=CVE-|GHSA-)", told):
                    names, _, what = part.partition(": ")
                    advisories = tuple(name.removeprefix("and ") for name in names.split(", "))
                    place = path.relative_to(ROOT).as_posix()
                    found.append(Row(advisories, what, family, place, node.name))
    return found


def table() -> str:
    """The table as it stands on the page."""
    lines = ["| advisory | what went wrong | test |", "|---|---|---|"]
    for row in rows():
        names = ", ".join(row.advisories)
        lines.append(f"| {names} | {row.what} | [`{row.test}`](../{row.path}) |")
    return "\n".join(lines) + "\n"


def rewritten() -> str:
    """The page with the table as it is now."""
    text = PAGE.read_text(encoding="utf-8")
    before, heading, rest = text.partition(HEADING)
    _, following, after = (rest if heading else before).partition(NEXT)
    if not following:
        raise SystemExit(f"{PAGE.name} has no line {NEXT!r}")
    if not heading:
        before = text.partition(NEXT)[0]
    return f"{before}{HEADING}{INTRODUCTION}\n{table()}\n{NEXT}{after}"


if __name__ == "__main__":
    PAGE.write_text(rewritten(), encoding="utf-8")
