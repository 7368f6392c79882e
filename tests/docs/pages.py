"""The project's pages as the tests of them see them: their tables, code blocks, headings and links."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def text_of(name: str) -> str:
    """The text of a page, by its name from the project's top."""
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def all_tests() -> frozenset[str]:
    """The names of all tests."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    return frozenset(re.findall(r"^\s*(?:async )?def (test_\w+)\(", text, re.MULTILINE))


def section(text: str, title: str) -> str:
    """What stands between the heading `title` and the next one of its rank or above."""
    outline = _BLOCK.sub(lambda block: block[0].replace("#", " "), text)  # comments in code are no headings
    found = re.search(rf"^(#+) {re.escape(title)}$", outline, re.MULTILINE)
    assert found is not None, title
    end = re.search(rf"^#{{1,{len(found[1])}}} ", outline[found.end() :], re.MULTILINE)
    return text[found.end() :] if end is None else text[found.end() : found.end() + end.start()]


def tables(text: str) -> list[list[dict[str, str]]]:
    """The tables, each a list of rows by column name."""
    found: list[list[dict[str, str]]] = []
    lines = _BLOCK.sub("", text).splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\|(-+\|)+", line):
            names = _cells(lines[number - 1])
            rows = []
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                rows.append(dict(zip(names, _cells(row), strict=True)))
            found.append(rows)
    return found


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return [cell.strip().replace("\\|", "|") for cell in cells]


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of one language."""
    return [found[2] for found in _BLOCK.finditer(text) if found[1] == language]


def code_in(cell: str) -> list[str]:
    """The words between backticks, code blocks left out."""
    return re.findall(r"`([^`]+)`", _BLOCK.sub("", cell))


def anchors(text: str) -> set[str]:
    """What a link may name behind `#`, as the usual renderers make it of headings."""
    titles = _HEADING.findall(_BLOCK.sub("", text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
