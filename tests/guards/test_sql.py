"""SQL lives in .sql files: named queries beside the stores, and migrations that never change."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path

import pytest
from project import ROOT, files, name_of, tree_of

SQL_TEXT = re.compile(
    r"\b(SELECT\b.+\bFROM|INSERT\s+INTO|UPDATE\s+[\w.\"]+\s+SET|DELETE\s+FROM|(CREATE|ALTER|DROP)\s+(TABLE|INDEX))\b"
    r"|\A\s*(SELECT|WITH)\s",
    re.DOTALL,
)
# migrate.py runs what it finds and keeps its own ledger; the test kit sets whole servers up.
MAY_HOLD_SQL = ("skeldir_jwt_mw/migrate.py", "skeldir_jwt_mw/testing/")
MIGRATIONS = files("migrations/*.sql")
CHECKSUMS = ROOT / "tests/guards/migration_checksums.txt"


def texts_of(module: ast.Module) -> list[str]:
    """String constants of a module that are not docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def test_the_scan_sees_sql_and_not_prose() -> None:
    module = ast.parse(
        '"""SELECT a FROM b."""\nx = "SELECT a\\n FROM b"\ny = f"DELETE FROM {x}"\nz = "select a from b"'
    )
    assert [bool(SQL_TEXT.search(text)) for text in texts_of(module)] == [True, False, True]


@pytest.mark.parametrize("module", files("skeldir_jwt_mw/*.py"), ids=name_of)
def test_python_holds_no_sql_text(module: Path) -> None:
    if not name_of(module).startswith(MAY_HOLD_SQL):
        assert [text for text in texts_of(tree_of(module)) if SQL_TEXT.search(text)] == []


@pytest.mark.parametrize("path", files("skeldir_jwt_mw/*.sql"), ids=name_of)
def test_every_query_has_a_name_of_its_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names = re.findall(r"^-- name: ([a-z_]+)$", text, re.MULTILINE)
    assert names
    assert len(names) == len(set(names))


def test_migrations_are_numbered_without_a_gap() -> None:
    assert MIGRATIONS
    assert [int(path.name[:4]) for path in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


@pytest.mark.parametrize("path", MIGRATIONS, ids=name_of)
def test_a_migration_is_named_for_what_it_does_and_opens_with_why(path: Path) -> None:
    assert re.fullmatch(r"\d{4}_[a-z]+(_[a-z0-9]+)+\.sql", path.name)
    assert path.read_text(encoding="utf-8").startswith("-- ")


def test_a_migration_is_never_changed() -> None:
    """A new file is added by `sha256sum migrations/NNNN_… >> tests/guards/migration_checksums.txt`."""
    known = dict(line.split()[::-1] for line in CHECKSUMS.read_text(encoding="utf-8").splitlines())
    assert {name_of(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in MIGRATIONS} == known
