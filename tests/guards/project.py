"""The project's files as the guards see them: what git tracks, and what the next commit may add."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "skeldir_jwt_mw"


def files(*patterns: str) -> list[Path]:
    """Files of the project that match one of the git pathspecs, or all."""
    git = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        *patterns,
    ]
    listed = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted(path for name in set(listed) if name and (path := ROOT / name).is_file())


def name_of(path: Path) -> str:
    """The path from the project's top, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """The dotted name under which the file is imported."""
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def tree_of(path: Path) -> ast.Module:
    """The module, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def code_lines_of(path: Path) -> int:
    """Lines of code alone: no blank lines, comments, docstrings or imports."""
    prose: set[int] = set()
    for node in ast.walk(tree_of(path)):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if text or isinstance(node, ast.Import | ast.ImportFrom):
            assert isinstance(node, ast.stmt)
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and n not in prose for n, line in lines
    )


def imports_of(path: Path) -> Iterator[str]:
    """Absolute dotted names that a module of the package imports; `from a import b` gives `a.b`."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)
