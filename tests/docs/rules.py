"""The tests that bear a rule's number in their names, as docs/security.md lists them at its end.

`python tests/docs/rules.py` writes the list anew, after a test was added, renamed or removed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/security.md"
HEADING = "## The tests of each rule\n"

_TEST = re.compile(r"^\s*(?:async )?def (test_r(\d\d)_\w+)\(", re.MULTILINE)


def tests_by_rule() -> dict[str, list[tuple[str, str]]]:
    """By rule ("R01"), the path and the name of each of its tests, in the order of both."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        for name, number in _TEST.findall(path.read_text(encoding="utf-8")):
            found[f"R{number}"].append((path.relative_to(ROOT).as_posix(), name))
    return dict(sorted(found.items()))


def listing() -> str:
    """The list as it stands on the page."""
    lines = []
    for rule, tests in tests_by_rule().items():
        lines.append(f"- **{rule}**")
        for place in dict.fromkeys(path for path, _ in tests):
            names = ", ".join(f"`{name}`" for path, name in tests if path == place)
            lines.append(f"  - [{Path(place).stem}](../{place}): {names}")
    return "\n".join(lines) + "\n"


def rewritten() -> str:
    """The page with the list as it is now."""
    before, heading, _ = PAGE.read_text(encoding="utf-8").partition(HEADING)
    if not heading:
        raise SystemExit(f"{PAGE.name} has no line {HEADING!r}")
    return f"{before}{HEADING}\n{listing()}"


if __name__ == "__main__":
    PAGE.write_text(rewritten(), encoding="utf-8")
