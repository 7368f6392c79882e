"""Sizes that keep a module one room, and the words that have no place in the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from project import ROOT, code_lines_of, files, name_of

MODULES = files("skeldir_jwt_mw/*.py")
ADAPTERS = [
    path
    for path in MODULES
    if re.fullmatch(
        r"skeldir_jwt_mw/(asgi|wsgi|fastapi|flask|authlib)\.py|skeldir_jwt_mw/django/\w+\.py", name_of(path)
    )
]
MAX_LINES = 350
MAX_ADAPTER_LINES = 110  # of code alone

# These log while something is made or configured, where an error of the service's own handlers is welcome.
LOGGING_WHERE_IT_MAY_RAISE = {"exempt", "seal_keys", "verifier"}

# Spelt in pieces, so that this file may hold them.
LEFTOVERS = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|Not" r"ImplementedError)\b|(?i:place" r"holder)")
OF_ONE_MACHINE = re.compile(r"(?<![\w.])/wo" r"rk/|(?<!\w)/ro" r"ot/|\.py" r"env|(?<!\w)/ho" r"me/\w")
TEXTS = [path for path in files() if path.suffix not in {".pem", ".der", ".svg", ".png"}]


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_one_room(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("adapter", ADAPTERS, ids=name_of)
def test_an_adapter_is_thin(adapter: Path) -> None:
    assert code_lines_of(adapter) <= MAX_ADAPTER_LINES


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_what_a_request_logs_cannot_end_it(module: Path) -> None:
    if module.stem not in LOGGING_WHERE_IT_MAY_RAISE:
        assert re.findall(r"\blogger\.(?:debug|info|warning|error|exception|log)\(", module.read_text()) == []


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_a_file_holds_no_leftovers_and_nothing_of_one_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert LEFTOVERS.findall(text) == []
    if name_of(path) != ".ci/run":
        assert OF_ONE_MACHINE.findall(text) == []


@pytest.mark.parametrize("path", files("*.md", "*.py", "*.sql", "*.cfg", "*.ini", "*.yml"), ids=name_of)
def test_every_document_that_a_file_speaks_of_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = {*re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)} if path.suffix == ".md" else set()
    assert [target for target in targets if not (path.parent / target).exists()] == []
    documents = {document.name for document in files("*.md")}
    assert [name for name in re.findall(r"\b[A-Z][\w-]*\.md\b", text) if name not in documents] == []


def test_the_license_is_apache_two() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
