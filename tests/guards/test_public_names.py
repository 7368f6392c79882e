"""Public means: in a sorted `__all__`, used in tests/typing/api.py, and told in the changelog."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
from project import ROOT, files, module_of, name_of, tree_of

CONTRACT = {
    "ConfigurationError", "InsufficientScope", "InvalidToken", "Issuer", "JWTError", "KeysUnavailable",
    "MemoryStore", "PostgresStore", "RefreshPolicy", "VerifiedToken", "Verifier", "current_token",
}  # fmt: skip


def all_of(path: Path) -> list[str] | None:
    """The module's `__all__` as it is written, or None."""
    for node in tree_of(path).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if (
            isinstance(target, ast.Name)
            and target.id == "__all__"
            and isinstance(node, ast.Assign | ast.AnnAssign)
        ):
            assert node.value is not None
            return list(ast.literal_eval(node.value))
    return None


# Modules that applications import from: packages but for the core, and the adapters.
PUBLIC = {
    module_of(path): names
    for path in files("skeldir_jwt_mw/*.py")
    if re.fullmatch(
        r"skeldir_jwt_mw(?!/core)(/\w+)*/(__init__|asgi|wsgi|fastapi|flask|authlib|channels)\.py",
        name_of(path),
    )
    and (names := all_of(path)) is not None
}


def used_in_the_typed_api() -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree_of(ROOT / "tests/typing/api.py")):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return names


def test_the_package_exports_every_name_of_its_contract() -> None:
    assert set(PUBLIC["skeldir_jwt_mw"]) >= CONTRACT


@pytest.mark.parametrize("module", PUBLIC)
def test_all_is_sorted_and_every_name_in_it_exists(module: str) -> None:
    names = PUBLIC[module]
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name))  # as ruff sorts them
    loaded = importlib.import_module(module)
    assert [name for name in names if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_has_a_docstring_that_opens_with_a_sentence(module: str) -> None:
    loaded = importlib.import_module(module)
    for name in PUBLIC[module]:
        value = getattr(loaded, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            first, _, rest = (inspect.getdoc(value) or "").partition("\n\n")
            assert re.search(r"[.:;]$|[.;] ", first.replace("\n", " ")), (
                f"{module}.{name}: {first!r} {rest[:40]!r}"
            )


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_used_in_the_typed_api(module: str) -> None:
    assert set(PUBLIC[module]) - used_in_the_typed_api() == set()


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_changelog(module: str) -> None:
    told = set(re.findall(r"\w+", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))
    assert set(PUBLIC[module]) - told == set()
